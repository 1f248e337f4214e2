import { encodeCanonical, utf8 } from "@cloister/core";
import { expect, test } from "vitest";
import {
  issueRevocationList,
  RevocationRegister,
  RevocationView,
  verifyNodeCertificate,
} from "../../src/index.ts";
import { MemoryRecords } from "../memory-records.ts";
import { HOUR_MS, issueAuthority, issueNode, key, NOW_MS, realm, signer } from "../world.ts";

const HEARTBEAT_MS = 5000;
const authorityKey = key("authority");
const options = (nowMs: number) => ({ nowMs, heartbeatMs: HEARTBEAT_MS, authorityKey });
const der = issueNode();
const opened = verifyNodeCertificate(der, { authorityKey, nowMs: NOW_MS, realm });
if (!opened.ok) throw new Error("the sample does not verify");
const certificate = opened.value;

/** What a relying party says of the node's certificate with what it has seen. */
function judge(view: RevocationView, nowMs: number): string[] {
  const list = view.current(nowMs);
  if (!list.ok) return list.refusals.map(({ code }) => code);
  const verdict = verifyNodeCertificate(der, { authorityKey, nowMs, realm, revocationList: list.value });
  return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
}

test("a revocation reaches relying parties with the next heartbeat, and stays across a restart", async () => {
  const records = new MemoryRecords();
  const view = new RevocationView(issueAuthority());
  const beat = async (nowMs: number): Promise<void> => {
    const list = await new RevocationRegister(records).list(options(nowMs), signer("authority"));
    expect(view.offer(list, nowMs).ok).toBe(true);
  };
  await beat(NOW_MS);
  expect(judge(view, NOW_MS + 1)).toEqual([]);
  await new RevocationRegister(records).revoke(certificate, NOW_MS + 2000);
  await beat(NOW_MS + HEARTBEAT_MS);
  expect(judge(view, NOW_MS + HEARTBEAT_MS)).toEqual(["CERTIFICATE_REVOKED"]);
  await beat(NOW_MS + 2 * HEARTBEAT_MS);
  expect(judge(view, NOW_MS + 2 * HEARTBEAT_MS)).toEqual(["CERTIFICATE_REVOKED"]);
});

test("who hears nothing for two heartbeats accepts nothing", async () => {
  const view = new RevocationView(issueAuthority());
  expect(judge(view, NOW_MS)).toEqual(["REVOCATION_UNKNOWN"]);
  view.offer(
    await new RevocationRegister(new MemoryRecords()).list(options(NOW_MS), signer("authority")),
    NOW_MS,
  );
  expect(judge(view, NOW_MS + 2 * HEARTBEAT_MS)).toEqual([]);
  expect(judge(view, NOW_MS + 2 * HEARTBEAT_MS + 1000)).toEqual(["REVOCATION_UNKNOWN"]);
});

test("an older list, a forged one, one that has run out and no list at all are refused", async () => {
  const register = new RevocationRegister(new MemoryRecords());
  const view = new RevocationView(issueAuthority());
  const old = await register.list(options(NOW_MS), signer("authority"));
  await register.revoke(certificate, NOW_MS);
  const fresh = await register.list(options(NOW_MS + 1000), signer("authority"));
  const forged = await register.list(options(NOW_MS + 1000), signer("impostor"));
  const codes = (list: Uint8Array, nowMs = NOW_MS + 1000): string[] => {
    const verdict = view.offer(list, nowMs);
    return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
  };
  expect(codes(fresh)).toEqual([]);
  expect(codes(old)).toEqual(["REVOCATION_ROLLED_BACK"]);
  expect(codes(forged)).toEqual(["REVOCATION_CRL_SIGNATURE_INVALID"]);
  expect(codes(fresh, NOW_MS + HOUR_MS)).toEqual(["REVOCATION_CRL_EXPIRED"]);
  expect(codes(utf8("x"))).toEqual(["REVOCATION_MALFORMED"]);
  const other = issueRevocationList(
    key("other"),
    { number: 9, thisUpdateMs: NOW_MS, nextUpdateMs: NOW_MS + HOUR_MS, revoked: [] },
    signer("other"),
  );
  expect(codes(other)).toContain("REVOCATION_CRL_ISSUER_WRONG");
  expect(judge(view, NOW_MS + 1000)).toEqual(["CERTIFICATE_REVOKED"]);
});

test("what has run out leaves the list, and a damaged record is named", async () => {
  const records = new MemoryRecords();
  const register = new RevocationRegister(records);
  await register.revoke({ serial: "0a", notAfterMs: NOW_MS + 10 }, NOW_MS);
  await register.revoke({ serial: "0a", notAfterMs: NOW_MS + 10 }, NOW_MS + 5);
  const view = new RevocationView(issueAuthority());
  const sizes: number[] = [];
  for (const nowMs of [NOW_MS, NOW_MS + HEARTBEAT_MS]) {
    const verdict = view.offer(await register.list(options(nowMs), signer("authority")), nowMs);
    sizes.push(verdict.ok ? verdict.value.revoked.size : -1);
  }
  expect(sizes).toEqual([1, 0]);
  records.records.set(
    "revocations",
    encodeCanonical({ number: 1, revoked: [{ serial: "zz", timeMs: 0, notAfterMs: 0 }] }),
  );
  await expect(register.list(options(NOW_MS), signer("authority"))).rejects.toMatchObject({
    code: "REVOCATIONS_RECORD_BROKEN",
  });
});
