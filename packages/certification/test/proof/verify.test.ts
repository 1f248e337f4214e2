import { simulationRoots, vendorRoots } from "@cloister/attestation";
import { digestOf, encodeCanonical, sha256, utf8 } from "@cloister/core";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import {
  decodeProof,
  encodeProof,
  encodeRlp,
  verifyProof,
  type ProofParts,
  type ProofResult,
} from "../../src/index.ts";
import { NOW_MS, realm } from "../world.ts";
import { generate, names } from "../threshold/hall.ts";
import { forgeProof, measurement, quote, type Twist } from "./forger.ts";

const roots = [vendorRoots, simulationRoots];
let proof: Awaited<ReturnType<typeof forgeProof>>;
beforeAll(async () => {
  proof = await forgeProof();
});

const codesOf = (result: ProofResult): string[] => [...new Set(result.refusals.map(({ code }) => code))];
const brokenLinks = (result: ProofResult): string[] =>
  result.links.filter((link) => !link.ok).map((link) => link.id);

test("a proof verifies from the root key to the output, says SIMULATED, and names what it cannot know", () => {
  const result = verifyProof(proof.bytes, {
    roots,
    realm,
    nowMs: NOW_MS + 300_000,
    blockHash: proof.blockHash,
  });
  expect(result.refusals).toEqual([]);
  expect(result).toMatchObject({ verified: true, simulated: true, report: proof.signed.report });
  expect(result.links.map((link) => link.id)).toEqual([
    ...["file", "hardware", "measurement", "authority", "certificate", "report", "log", "anchor", "block"],
    ...["output", "whole"],
  ]);
  expect(result.links.every((link) => link.title.endsWith(".") && link.detail.endsWith("."))).toBe(true);
  expect(result.unknown.join(" ")).toContain(proof.blockHash);
  expect(result.unknown.join(" ")).toContain("SIMULATED");
});

test("a proof has at most 64 KiB", () => {
  expect(proof.bytes.length).toBeLessThan(65_536);
});

test("a proof under an authority of shares says how many machines vouch, and stays small", async () => {
  const shares = Object.values(generate(names(5), 3, "proof"));
  const shared = await forgeProof({ shares });
  const result = verifyProof(shared.bytes, { roots, realm });
  expect(result.refusals).toEqual([]);
  expect(result.links.find(({ id }) => id === "authority")?.detail).toMatch(
    /^3 of 5 machines .*; 3 must act together/,
  );
  expect(shared.bytes.length).toBeLessThan(65_536);
  const revoked = await forgeProof({ shares, authorityApproval: [1000, true] });
  expect(codesOf(verifyProof(revoked.bytes, { roots }))).toContain("AUTHORITY_NOT_APPROVED");
  const unproven = await forgeProof({ shares, authorityEvidence: () => quote(new Uint8Array(64)) });
  expect(brokenLinks(verifyProof(unproven.bytes, { roots }))).toContain("authority");
});

test("the output in the reader's hands is found, plain or sealed, and another is not", () => {
  const [output] = proof.signed.report.outputs;
  for (const outputDigest of [output?.content, output?.sealed]) {
    expect(verifyProof(proof.bytes, { roots, outputDigest }).verified).toBe(true);
  }
  const other = verifyProof(proof.bytes, { roots, outputDigest: digestOf(utf8("other")) });
  expect([brokenLinks(other), codesOf(other)]).toEqual([["output"], ["PROOF_OUTPUT_MISMATCH"]]);
});

test("without a simulated root, simulated evidence proves nothing", () => {
  for (const options of [{}, { roots: [vendorRoots] }]) {
    const result = verifyProof(proof.bytes, options);
    expect(result).toMatchObject({ verified: false, simulated: true });
    expect(codesOf(result)).toContain("PROOF_SIMULATED");
    expect(brokenLinks(result)).toContain("hardware");
  }
});

const T = (twist: Twist): Twist => twist;
test.each<[string, Twist, string, string]>([
  [
    "evidence for another order",
    T({ orderEvidence: () => quote(new Uint8Array(64)) }),
    "hardware",
    "REPORT_DATA|CHALLENGE",
  ],
  [
    "evidence of a debuggable machine",
    T({ orderEvidence: (data) => quote(data, "software", true) }),
    "hardware",
    "TEE_DEBUG|MISMATCH",
  ],
  [
    "evidence of other software",
    T({ orderEvidence: (data) => quote(data, "malware") }),
    "hardware",
    "EVIDENCE_MISMATCH",
  ],
  [
    "a node certified on other keys' evidence",
    T({ nodeEvidence: () => quote(new Uint8Array(64)) }),
    "certificate",
    "REPORT_DATA|CHALLENGE",
  ],
  [
    "a node certified on other software",
    T({ nodeEvidence: (data) => quote(data, "malware") }),
    "certificate",
    "EVIDENCE_MISMATCH",
  ],
  [
    "an authority without evidence for its key",
    T({ authorityEvidence: () => quote(new Uint8Array(64)) }),
    "authority",
    "REPORT_DATA|CHALLENGE",
  ],
  [
    "a certificate that the authority did not sign",
    T({ nodeSigner: "impostor" }),
    "certificate",
    "CERTIFICATE_SIGNATURE_INVALID",
  ],
  [
    "a report that another key signed",
    T({ reportSigner: "impostor" }),
    "report",
    "PROOF_REPORT_SIGNATURE_INVALID",
  ],
  [
    "a report of another node",
    T({ integrity: { node: `0x${"22".repeat(20)}` as never } }),
    "report",
    "PROOF_NODE_MISMATCH",
  ],
  ["a report for another chain", T({ integrity: { chainId: 1 } }), "report", "PROOF_REALM_MISMATCH"],
  [
    "a report for another contract",
    T({ integrity: { contract: `0x${"22".repeat(20)}` as never } }),
    "report",
    "PROOF_REALM_MISMATCH",
  ],
  ["a checkpoint of another log", T({ logSigner: "impostor" }), "log", "PROOF_CHECKPOINT_INVALID"],
  ["no anchor on the chain", T({ anchored: false }), "anchor", "PROOF_ANCHOR_MISMATCH"],
  [
    "a measurement that was revoked",
    T({ approvals: [1000, true] }),
    "measurement",
    "MEASUREMENT_NOT_APPROVED",
  ],
  [
    "a measurement whose approval lies ahead",
    T({ approvals: [NOW_MS, false] }),
    "measurement",
    "MEASUREMENT_NOT_APPROVED",
  ],
  [
    "an authority that was revoked",
    T({ authorityApproval: [1000, true] }),
    "authority",
    "AUTHORITY_NOT_APPROVED",
  ],
  [
    "an authority that was never approved",
    T({ authorityApproval: [0, false] }),
    "authority",
    "AUTHORITY_NOT_APPROVED",
  ],
  ["a block older than its report", T({ blockMs: NOW_MS - 3_600_000 }), "block", "PROOF_TIME_MISMATCH"],
  [
    "an order after the certificate's end",
    T({ integrity: { preparedAtMs: NOW_MS + 7_200_000 }, blockMs: NOW_MS + 7_300_000 }),
    "certificate",
    "CERTIFICATE_EXPIRED",
  ],
  [
    "an order that ends after the certificate",
    T({ integrity: { preparedAtMs: NOW_MS + 3_599_900 }, blockMs: NOW_MS + 7_300_000 }),
    "certificate",
    "CERTIFICATE_EXPIRED",
  ],
])("a proof with %s is refused at its link", async (_, twist, link, code) => {
  const result = verifyProof((await forgeProof(twist)).bytes, { roots });
  expect(result.verified).toBe(false);
  expect(brokenLinks(result)).toContain(link);
  expect(codesOf(result).join(" ")).toMatch(new RegExp(code));
});

const changed = (change: (parts: ProofParts) => ProofParts): Twist => ({ parts: change });
test.each<[string, Twist, string, string]>([
  [
    "surplus endorsements",
    changed((p) => ({ ...p, endorsements: [...p.endorsements, utf8("more")] })),
    "whole",
    "PROOF_SURPLUS",
  ],
  [
    "surplus trie nodes",
    changed((p) => ({ ...p, block: { ...p.block, nodes: [...p.block.nodes, utf8("more")] } })),
    "whole",
    "PROOF_SURPLUS",
  ],
  ["no endorsements", changed((p) => ({ ...p, endorsements: [] })), "hardware", "PROOF_ENDORSEMENTS_MISSING"],
  ["no evidence", changed((p) => ({ ...p, evidence: [] })), "hardware", "PROOF_EVIDENCE_MISMATCH"],
  [
    "other evidence than the report's",
    changed((p) => ({ ...p, evidence: [encodeCanonical({ tee: "tdx", bytes: utf8("x") })] })),
    "hardware",
    "PROOF_EVIDENCE_MISMATCH",
  ],
  [
    "no trie nodes",
    changed((p) => ({ ...p, block: { ...p.block, nodes: [] } })),
    "anchor",
    "TRIE_PROOF_INVALID",
  ],
  [
    "another index in the log",
    changed((p) => ({ ...p, log: { ...p.log, index: 3 } })),
    "log",
    "LOG_INCLUSION_INVALID",
  ],
  [
    "a second signature at the checkpoint",
    changed((p) => ({
      ...p,
      log: { ...p.log, checkpoint: new Uint8Array([...p.log.checkpoint, ...utf8("— other AAAAAAAA\n")]) },
    })),
    "log",
    "PROOF_CHECKPOINT_INVALID",
  ],
  [
    "the node's certificate in the authority's place",
    changed((p) => ({ ...p, authority: p.certificate })),
    "authority",
    "CERTIFICATE_MALFORMED",
  ],
  [
    "somebody else's word about the block",
    changed((p) => ({ ...p, block: { ...p.block, vouch: p.report } })),
    "block",
    "BLOCK_VOUCH_MALFORMED",
  ],
  [
    "no header",
    changed((p) => ({ ...p, block: { ...p.block, header: encodeRlp([]) } })),
    "file",
    "BLOCK_HEADER_MALFORMED",
  ],
  ["no report", changed((p) => ({ ...p, report: utf8("x") })), "file", "CBOR|COSE"],
])("a file with %s is refused at its link", async (_, twist, link, code) => {
  const result = verifyProof((await forgeProof(twist)).bytes, { roots });
  expect(brokenLinks(result)).toContain(link);
  expect(codesOf(result).join(" ")).toMatch(new RegExp(code));
});

test("a word about another block is refused", async () => {
  const other = await forgeProof({ blockMs: NOW_MS + 180_000 });
  const swapped = encodeProof({
    ...proof.parts,
    block: { ...other.parts.block, vouch: proof.parts.block.vouch },
  });
  expect(codesOf(verifyProof(swapped, { roots }))).toContain("PROOF_BLOCK_MISMATCH");
});

test("what the reader knows is held against the proof", () => {
  const other = { ...realm, registry: `0x${"33".repeat(20)}` as typeof realm.registry };
  expect(codesOf(verifyProof(proof.bytes, { roots, realm: other }))).toContain("CERTIFICATE_REALM_MISMATCH");
  expect(codesOf(verifyProof(proof.bytes, { roots, nowMs: NOW_MS - 86_400_000 }))).toContain(
    "PROOF_TIME_MISMATCH",
  );
  expect(codesOf(verifyProof(proof.bytes, { roots, tcbStatuses: ["SWHardeningNeeded"] }))).toContain(
    "TCB_STATUS_NOT_ACCEPTED",
  );
  const hash = `0x${"44".repeat(32)}` as typeof proof.blockHash;
  expect(codesOf(verifyProof(proof.bytes, { roots, blockHash: hash }))).toContain("PROOF_BLOCK_MISMATCH");
});

test("real evidence is not judged by a simulated root alone", async () => {
  const [part] = proof.signed.report.evidence;
  const claimed = await forgeProof({ report: { evidence: [{ ...part, simulated: false, measurement }] } });
  const result = verifyProof(claimed.bytes, { roots });
  expect(result.verified).toBe(false);
  expect(codesOf(verifyProof(claimed.bytes, { roots: [simulationRoots] }))).toContain("PROOF_ROOTS_MISSING");
  expect(codesOf(result)).toContain("PROOF_SIMULATION_MIXED");
});

test("evidence of the order from another machine than the certified one is refused", async () => {
  const moved = await forgeProof({
    orderEvidence: (data) => quote(data, "software", false, "another platform"),
  });
  const result = verifyProof(moved.bytes, { roots });
  expect([brokenLinks(result), codesOf(result)]).toEqual([["hardware"], ["PROOF_MACHINE_MISMATCH"]]);
});

test("a certificate that was renewed while the order ran serves its proof", async () => {
  const long = await forgeProof({
    integrity: { preparedAtMs: NOW_MS - 3_600_000 },
    report: {
      startedAtMs: NOW_MS - 3_599_000,
      endedAtMs: NOW_MS + 60_000,
      wipe: { wiped: ["keys"], wipedAtMs: NOW_MS + 60_001 },
    },
  });
  expect(verifyProof(long.bytes, { roots }).refusals).toEqual([]);
});

test("a proof without a word about its block verifies, and says that nobody vouches for the block", async () => {
  const bare = await forgeProof({ vouch: false });
  const result = verifyProof(bare.bytes, { roots });
  expect(result.verified).toBe(true);
  expect(result.unknown.join(" ")).toContain("Nobody in this file vouches");
});

test("a failed order has a proof, too", async () => {
  const failed = await forgeProof({ report: { exit: { code: 3, reason: "ENGINE_TRAPPED" }, outputs: [] } });
  const result = verifyProof(failed.bytes, { roots });
  expect(result.verified).toBe(true);
  expect(result.links.find((link) => link.id === "output")?.detail).toMatch(/failed/);
});

test("a file with any changed byte is refused", { timeout: 120_000 }, () => {
  // Every seventh byte, some 3,600 of them: headers, lengths and all pieces are hit.
  for (let at = 0; at < proof.bytes.length; at += 7) {
    const bytes = proof.bytes.slice();
    bytes[at] = (bytes[at] as number) ^ (1 << (at % 8));
    const result = verifyProof(bytes, { roots });
    expect(result.verified, `byte ${at}`).toBe(false);
  }
});

/** Flips bytes inside the body and closes it with the right digest again, as a forger would. */
test(
  "a forger who changes a byte and mends the file's own digest is refused by the links",
  { timeout: 120_000 },
  () => {
    const [body] = decodeOuter(proof.bytes);
    const tried = 1000;
    for (let i = 0; i < tried; i++) {
      const random = sha256(utf8(`flip ${i}`));
      const at = new DataView(random.buffer).getUint32(0) % body.length;
      const bit = 1 << ((random[4] as number) % 8);
      const forged = body.with(at, (body[at] as number) ^ bit);
      const result = verifyProof(encodeCanonical([forged, sha256(forged)]), { roots });
      expect(result.verified, `byte ${at} of the body, bit ${bit}`).toBe(false);
    }
  },
);

test("bytes that are no proof are refused, and nothing throws", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(codesOf(verifyProof(bytes, { roots }))).toEqual(["PROOF_MALFORMED"]);
    }),
  );
  expect(codesOf(verifyProof(new Uint8Array(300_000), { roots }))).toEqual(["PROOF_MALFORMED"]);
  expect(codesOf(verifyProof(proof.bytes.subarray(0, -1), { roots }))).toEqual(["PROOF_MALFORMED"]);
});

test("damage is told before anything else", () => {
  const [body, digest] = decodeOuter(proof.bytes);
  const damaged = encodeCanonical([body.with(100, 0), digest]);
  expect(verifyProof(damaged, { roots }).refusals[0]?.reason).toMatch(/damaged/);
});

test("endorsements are held once and in one order", () => {
  const [one] = proof.parts.endorsements as [Uint8Array];
  expect(encodeProof({ ...proof.parts, endorsements: [one, one] })).toEqual(proof.bytes);
  const body = encodeCanonical({ format: "cloister-proof/1", ...proof.parts, endorsements: [one, one] });
  expect(() => decodeProof(encodeCanonical([body, sha256(body)]))).toThrow(
    expect.objectContaining({ code: "PROOF_MALFORMED" }),
  );
});

function decodeOuter(bytes: Uint8Array): [Uint8Array, Uint8Array] {
  const body = bytes.subarray(4, bytes.length - 34);
  const whole = encodeCanonical([body, sha256(body)]);
  expect(whole).toEqual(bytes);
  return [body, sha256(body)];
}
