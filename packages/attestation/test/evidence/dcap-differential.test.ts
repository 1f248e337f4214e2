import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fromUtf8, toHex, utf8 } from "@cloister/core";
import { QuoteVerifier } from "@phala/dcap-qvl";
import { describe, expect, test } from "vitest";
import { nameOf, parseCertificate, verify } from "../../src/index.ts";
import type { VectorEntry } from "../../tools/judges/entry.ts";
import { judgeDcapQuote } from "../../tools/judges/dcap.ts";
import {
  FORGED_NOW_MS,
  forgedIntelRoots,
  forgedKeys,
  forgeIntel,
  GENUINE_COMPONENTS,
  purposeExtension,
  rootCertificate,
  type IntelForgery,
} from "../forger/intel.ts";

const folder = process.env["CLOISTER_VECTORS"] ?? join(import.meta.dirname, "../../../../../shared/vectors");
const present = existsSync(join(folder, "index.json"));
const load = (path: string): Uint8Array => new Uint8Array(readFileSync(join(folder, path)));
const document = readFileSync(
  join(import.meta.dirname, "../../../../docs/attestation-differences.md"),
  "utf8",
);
const rows = new Map(
  [...document.matchAll(/^\| `([\w-]+)` \| ([^|]+) \| ([^|]+) \|/gm)].map(
    ([, name = "", ours = "", peer = ""]) => [name, { ours: ours.trim(), peer: peer.trim() }],
  ),
);
const explained = (name: string): boolean => rows.has(name);

/** An answer as the document words it: the status, and how many advisories where the row counts them. */
function worded(answer: string, row: string, debug = false): string {
  const [status = "", ...advisories] = answer.split(" ");
  const counted = row.includes("advisories") ? `${status}, ${advisories.length} advisories` : status;
  return debug ? `${counted}, debug` : counted;
}

/** The document's row says what both answer today. */
function expectRowToHold(name: string, ours: string, peer: string, debug = false): void {
  const row = rows.get(name);
  if (row === undefined) return;
  expect(row).toEqual({ ours: worded(ours, row.ours, debug), peer: worded(peer, row.peer) });
}

/** The peer's answer in our words: a status with advisories, or a refusal. */
function theirs(verifier: QuoteVerifier, quote: Uint8Array, collateral: unknown, nowMs: number): string {
  try {
    const { status, advisory_ids } = verifier.verify(Buffer.from(quote), collateral as never, nowMs / 1000);
    return `${status} ${advisory_ids.toSorted().join(" ")}`.trim();
  } catch {
    return "refused";
  }
}

describe("against @phala/dcap-qvl on real quotes: agreement, or a reason in docs/attestation-differences.md", () => {
  const entries = present
    ? (JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as { entries: VectorEntry[] }).entries
    : [];
  const quotes = entries.filter(
    ({ kind, files }) => kind === "dcap-quote" && files["collateral"] !== undefined,
  );

  test.skipIf(!present)(`vectors lie in ${folder} (CLOISTER_VECTORS names another)`, () => {
    expect(quotes.length).toBeGreaterThan(0);
  });

  test.each(quotes.map((entry) => [entry.id, entry] as const))("%s", (id, entry) => {
    const answer = judgeDcapQuote(entry, load);
    const ours =
      answer.verdict === "reject"
        ? "refused"
        : `${answer.tcbStatus} ${answer.advisoryIds?.toSorted().join(" ")}`.trim();
    const collateral = JSON.parse(fromUtf8(load(entry.files["collateral"] as string)));
    const nowMs = Date.parse(entry.evaluationTime as string);
    const peer = theirs(QuoteVerifier.newProd(), load(entry.files["quote"] as string), collateral, nowMs);
    expect(peer === ours || explained(id)).toBe(true);
    expect(peer !== ours || !explained(id)).toBe(true);
    expectRowToHold(id, ours, peer, answer.verdict === "policy-reject");
  });
});

/** Forged collateral in the peer's form. */
function collateralOf({ parts }: ReturnType<typeof forgeIntel>["endorsements"]): Record<string, string> {
  const text = (name: string): string => fromUtf8(parts[name] ?? new Uint8Array());
  const hex = (name: string): string => toHex(parts[name] ?? new Uint8Array());
  return {
    pck_crl_issuer_chain: text("tcbInfoIssuerChain"),
    root_ca_crl: hex("rootCaCrl"),
    pck_crl: hex("pckCrl"),
    tcb_info_issuer_chain: text("tcbInfoIssuerChain"),
    tcb_info: text("tcbInfo"),
    tcb_info_signature: hex("tcbInfoSignature"),
    qe_identity_issuer_chain: text("qeIdentityIssuerChain"),
    qe_identity: text("qeIdentity"),
    qe_identity_signature: hex("qeIdentitySignature"),
  };
}

describe("against @phala/dcap-qvl on forgeries", () => {
  const stranger = forgedKeys.stranger;
  const zeros = Array.from({ length: 13 }, () => 0);
  const plainSvn = { teeTcbSvn: [5, 0, 3, ...zeros] };
  const level = (status: string, more = {}) => ({ status, tdx: [5, 0, 3, ...zeros], ...more });
  const forgeries: Record<string, IntelForgery> = {
    "genuine-sgx": { tee: "sgx" },
    "genuine-tdx": { ...plainSvn, levels: [level("UpToDate")] },
    "leaf-of-stranger": { leaf: { signedBy: stranger } },
    "authority-of-stranger": { authority: { signedBy: stranger } },
    "root-of-stranger": { root: { fields: { publicKey: stranger.publicKey }, signedBy: stranger } },
    "leaf-expired": { leaf: { fields: { notAfterMs: FORGED_NOW_MS - 1000 } } },
    "leaf-revoked": { revoked: "pck" },
    "authority-revoked": { revoked: "authority" },
    "lists-of-stranger": { crl: { signedBy: stranger } },
    "lists-expired": { crl: { nextUpdateMs: FORGED_NOW_MS - 1000 } },
    "collateral-of-stranger": { collateralSignedBy: stranger },
    "collateral-of-platform": { collateralSignedBy: forgedKeys.pck },
    "qe-of-stranger": { qeSignedBy: stranger },
    "quote-of-stranger": { quoteSignedBy: stranger },
    "key-unbound": { qeAuthDataInReport: utf8("other") },
    "other-qe": { qeMrSigner: new Uint8Array(32) },
    "other-fmspc": { tcbInfo: { fmspc: "00A06F000000" } },
    "other-issuer-name": { leaf: { fields: { issuer: nameOf("Other", "Forger") } } },
    "authority-is-none": { authority: { fields: { extensions: [] } } },
    "leaf-other-purpose": { leaf: { moreExtensions: [purposeExtension("1.3.6.1.5.5.7.3.1")] } },
    "module-of-stranger": { mrSignerSeam: new Uint8Array(48).fill(1) },
    "module-rule": { levels: [{ status: "UpToDate", tdx: [9, 9, 3, ...zeros] }] },
    "level-out-of-date": { ...plainSvn, levels: [level("UpToDate", { pceSvn: 12 }), level("OutOfDate")] },
    "level-revoked": { ...plainSvn, levels: [level("Revoked")] },
    "level-missing": { components: GENUINE_COMPONENTS.map(() => 0) },
    "old-qe": {
      tee: "sgx",
      qeLevels: [
        { isvSvn: 9, status: "UpToDate" },
        { isvSvn: 1, status: "OutOfDate", advisoryIds: ["INTEL-SA-9"] },
      ],
    },
    relaunch: {
      version: 5,
      teeTcbSvn2: [9, 1, 3, ...zeros],
      modules: {
        TDX_01: [
          { isvSvn: 9, status: "UpToDate" },
          { isvSvn: 5, status: "OutOfDate" },
        ],
      },
    },
  };

  test.each(Object.entries(forgeries))("%s", (name, forgery) => {
    const { evidence, endorsements } = forgeIntel(forgery);
    const verdict = verify(evidence, endorsements, { nowMs: FORGED_NOW_MS, roots: forgedIntelRoots });
    const ours = verdict.ok
      ? `${verdict.value.tcb.status} ${verdict.value.tcb.advisoryIds.join(" ")}`.trim()
      : "refused";
    const root = parseCertificate(rootCertificate()).der;
    const peer = theirs(
      QuoteVerifier.newWithRootCa(Buffer.from(root)),
      evidence.bytes,
      collateralOf(endorsements),
      FORGED_NOW_MS,
    );
    expect({ name, peer, agreesOrExplained: peer === ours || explained(name) }).toEqual({
      name,
      peer,
      agreesOrExplained: true,
    });
    expect({ name, needlesslyExplained: peer === ours && explained(name) }).toEqual({
      name,
      needlesslyExplained: false,
    });
    expectRowToHold(name, ours, peer);
  });

  test("every row of the document is about a case here, or about a real quote", () => {
    const forged = [...rows.keys()].filter((name) => !name.startsWith("s-"));
    expect(forged.filter((name) => !Object.hasOwn(forgeries, name))).toEqual([]);
    expect(forged.length).toBeGreaterThan(0);
  });
});
