import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { toPem } from "@cloister/attestation";
import { expect, test } from "vitest";
import { issueRevocationList } from "../../src/index.ts";
import { HOUR_MS, issueAuthority, issueNode, key, NOW_MS, signer } from "../world.ts";

const openssl = spawnSync("openssl", ["version"]).status === 0;

function inFolder<T>(files: Record<string, string | Uint8Array>, run: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "cloister-openssl-"));
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    return run(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function verify(
  files: Record<string, string | Uint8Array>,
  more: string[] = [],
): { ok: boolean; output: string } {
  return inFolder(files, (cwd) => {
    const at = String(NOW_MS / 1000);
    const purpose = ["-x509_strict", "-purpose", "sslserver", "-attime", at];
    const done = spawnSync("openssl", ["verify", ...purpose, ...more, "-CAfile", "ca.pem", "node.pem"], {
      cwd,
    });
    return { ok: done.status === 0, output: String(done.stdout) + String(done.stderr) };
  });
}

const ca = toPem(issueAuthority());
const leaf = toPem(issueNode());

test.skipIf(!openssl)("openssl verify accepts the chain (needs openssl)", () => {
  expect(verify({ "ca.pem": ca, "node.pem": leaf })).toEqual({ ok: true, output: "node.pem: OK\n" });
});

test.skipIf(!openssl)("openssl verify refuses a certificate of another authority (needs openssl)", () => {
  const forged = toPem(issueNode({}, signer("impostor")));
  expect(verify({ "ca.pem": ca, "node.pem": forged }).ok).toBe(false);
});

test.skipIf(!openssl)("openssl checks our revocation list (needs openssl)", () => {
  const serial = new X509Certificate(issueNode()).serialNumber.toLowerCase();
  const crl = (revoked: { serial: string; timeMs: number }[]): string =>
    inFolder(
      {
        "crl.der": issueRevocationList(
          key("authority"),
          { number: 1, thisUpdateMs: NOW_MS - 1000, nextUpdateMs: NOW_MS + HOUR_MS, revoked },
          signer("authority"),
        ),
      },
      (cwd) => String(execFileSync("openssl", ["crl", "-inform", "DER", "-in", "crl.der"], { cwd })),
    );
  const check = ["-crl_check", "-CRLfile", "crl.pem"];
  const files = { "ca.pem": ca, "node.pem": leaf };
  expect(verify({ ...files, "crl.pem": crl([]) }, check).ok).toBe(true);
  const refused = verify({ ...files, "crl.pem": crl([{ serial, timeMs: NOW_MS - 1000 }]) }, check);
  expect(refused.ok).toBe(false);
  expect(refused.output).toMatch(/certificate revoked/);
});
