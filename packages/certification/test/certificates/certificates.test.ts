import { X509Certificate } from "node:crypto";
import {
  buildCertificate,
  OID,
  parseCertificate,
  usageExtensions,
  type Certificate,
  type CertificateFields,
} from "@cloister/attestation";
import { fromHex, parseAddress, sha256, toHex, utf8, type NodeId } from "@cloister/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  authorityReportData,
  certifyReportData,
  issueRevocationList,
  nodeKeysDigest,
  nodeUri,
  verifyAuthorityCertificate,
  verifyNodeCertificate,
  type AuthorityStatement,
  type LogWitness,
} from "../../src/index.ts";
import {
  authorityStatement,
  evidence,
  HOUR_MS,
  issueAuthority,
  issueNode,
  key,
  node,
  nodeStatement,
  NOW_MS,
  realm,
  serial,
  signer,
} from "../world.ts";

const options = { authorityKey: key("authority"), nowMs: NOW_MS, realm };
const codes = (verdict: { ok: boolean; refusals?: readonly { code: string }[] }): string[] =>
  verdict.refusals?.map(({ code }) => code) ?? [];

test("a node's certificate gives its keys, its evidence and what the evidence must bind", () => {
  const verdict = verifyNodeCertificate(issueNode(), options);
  expect(verdict).toMatchObject({ ok: true, value: { statement: nodeStatement, evidence } });
  if (!verdict.ok) return;
  const keys = { identity: key("identity"), settlement: node, wrap: key("wrap") };
  expect(verdict.value.keys).toEqual(keys);
  expect(verdict.value.reportData).toEqual(certifyReportData(nodeStatement.challenge, keys));
  expect(verdict.value.notAfterMs).toBe(NOW_MS + HOUR_MS);
});

test("an authority's certificate gives its key and the evidence of its members", () => {
  const verdict = verifyAuthorityCertificate(issueAuthority(), { nowMs: NOW_MS, realm });
  expect(verdict).toMatchObject({
    ok: true,
    value: { key: key("authority"), statement: authorityStatement },
  });
  expect(verdict.ok && verdict.value.evidence.map((one) => one.evidence)).toEqual([evidence]);
});

test("OpenSSL reads the names, the key and the issuer", () => {
  const [leaf, issuer] = [new X509Certificate(issueNode()), new X509Certificate(issueAuthority())];
  expect(leaf.publicKey.asymmetricKeyType).toBe("ed25519");
  expect(leaf.subjectAltName).toBe(`URI:${nodeUri(realm, node)}`);
  expect(leaf.checkIssued(issuer) && leaf.verify(issuer.publicKey)).toBe(true);
  expect([leaf.ca, issuer.ca]).toEqual([false, true]);
});

test("keys that differ in any member have different digests", () => {
  const keys = { identity: key("a"), settlement: node, wrap: key("b") };
  const other = parseAddress(`0x${"11".repeat(20)}`) as NodeId;
  const all = [
    keys,
    { ...keys, identity: key("c") },
    { ...keys, wrap: key("c") },
    { ...keys, settlement: other },
  ];
  expect(new Set(all.map(nodeKeysDigest)).size).toBe(4);
});

test("every failed check of a node's certificate is listed", () => {
  const late = { ...options, nowMs: NOW_MS + 2 * HOUR_MS, realm: { ...realm, chainId: 1 } };
  const verdict = verifyNodeCertificate(issueNode({}, signer("impostor")), late);
  expect(codes(verdict)).toEqual([
    "CERTIFICATE_SIGNATURE_INVALID",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REALM_MISMATCH",
  ]);
});

test.each(["contract", "registry"] as const)("a certificate of another %s is refused", (member) => {
  const other = { ...realm, [member]: node };
  expect(codes(verifyNodeCertificate(issueNode(), { ...options, realm: other }))).toEqual([
    "CERTIFICATE_REALM_MISMATCH",
  ]);
  expect(codes(verifyAuthorityCertificate(issueAuthority(), { nowMs: NOW_MS, realm: other }))).toEqual([
    "CERTIFICATE_REALM_MISMATCH",
  ]);
});

test("a certificate is not good before its time, and a clock moved back does not help", () => {
  expect(codes(verifyNodeCertificate(issueNode(), { ...options, nowMs: NOW_MS - HOUR_MS }))).toEqual([
    "CERTIFICATE_EXPIRED",
  ]);
  expect(codes(verifyAuthorityCertificate(issueAuthority(), { nowMs: NOW_MS - HOUR_MS }))).toContain(
    "CERTIFICATE_EXPIRED",
  );
});

test("a certificate whose name is another node's is refused", () => {
  const other = parseAddress(`0x${"11".repeat(20)}`) as NodeId;
  const der = issueNode({ statement: { ...nodeStatement, settlement: other } });
  const swapped = replace(der, utf8(other), utf8(node));
  expect(codes(verifyNodeCertificate(swapped, options))).toContain("CERTIFICATE_NAME_MISMATCH");
});

test("an authority's certificate does not pass for a node's, nor a node's for an authority's", () => {
  expect(codes(verifyNodeCertificate(issueAuthority(), options))).toEqual(["CERTIFICATE_MALFORMED"]);
  expect(codes(verifyAuthorityCertificate(issueNode(), { nowMs: NOW_MS }))).toEqual([
    "CERTIFICATE_MALFORMED",
  ]);
});

test("a certificate with another use, or with an extension that is not ours, is refused", () => {
  const [leaf, ca] = [parseCertificate(issueNode()), parseCertificate(issueAuthority())];
  const rebuild = (
    from: Certificate,
    change: (list: CertificateFields["extensions"]) => CertificateFields["extensions"],
  ): Uint8Array =>
    buildCertificate(
      {
        ...from,
        serial: fromHex(from.serial),
        extensions: change([...from.extensions].map(([oid, one]) => ({ oid, ...one }))),
      },
      { scheme: { kind: "ed25519" }, sign: signer("authority") },
    );
  const node = (change: Parameters<typeof rebuild>[1]): string[] =>
    codes(verifyNodeCertificate(rebuild(leaf, change), options));
  const authority = (change: Parameters<typeof rebuild>[1]): string[] =>
    codes(verifyAuthorityCertificate(rebuild(ca, change), { nowMs: NOW_MS }));
  const without = (list: CertificateFields["extensions"]): CertificateFields["extensions"] =>
    list.filter(({ oid }) => oid !== OID.keyUsage && oid !== OID.basicConstraints);
  const wrong = ["CERTIFICATE_USAGE_WRONG"];
  expect([node((list) => list), authority((list) => list)]).toEqual([[], []]);
  expect([node(without), authority(without)]).toEqual([wrong, wrong]);
  expect(
    node((list) => [...without(list), ...usageExtensions({ authority: true, pathLengthMax: 0 })]),
  ).toEqual(wrong);
  expect(authority((list) => [...without(list), ...usageExtensions({ authority: false })])).toEqual(wrong);
  expect(node((list) => [...list, { oid: "1.2.3", critical: true, value: utf8("x") }])).toEqual(wrong);
});

test("an authority signed by another key than its own is refused", () => {
  const der = issueAuthority({ key: key("other") });
  expect(codes(verifyAuthorityCertificate(der, { nowMs: NOW_MS }))).toContain(
    "CERTIFICATE_SIGNATURE_INVALID",
  );
});

const [member] = authorityStatement.members;
const witness = (name: string): LogWitness => ({
  node: parseAddress(`0x${toHex(utf8(name)).padEnd(40, "0")}`),
  key: key(name.slice(0, 1)),
});

test("an authority's evidence binds the witnesses of its log", () => {
  const named = (names: string[]): AuthorityStatement => ({
    ...authorityStatement,
    log: { ...authorityStatement.log, witnesses: { countMin: 1, members: names.map(witness) } },
  });
  const verdict = verifyAuthorityCertificate(issueAuthority({ statement: named(["a", "b"]) }), {
    nowMs: NOW_MS,
  });
  expect(verdict.ok && verdict.value.statement.log).toEqual(named(["a", "b"]).log);
  const bindings = [authorityStatement, named(["a"]), named(["b"]), named(["a", "b"])].map((statement) =>
    toHex(authorityReportData(key("authority"), statement, 1)),
  );
  expect(new Set(bindings).size).toBe(4);
});

const { endorsements: _, ...bare } = member;
test.each<[string, Partial<AuthorityStatement>, Record<number, typeof evidence>]>([
  [
    "no evidence of a member that names endorsements",
    { members: [member, { ...member, index: 2 }] },
    { 1: evidence },
  ],
  [
    "evidence of a member that names none",
    { members: [member, { ...bare, index: 2 }], threshold: 2 },
    { 1: evidence, 2: evidence },
  ],
  ["evidence of nobody", {}, { 1: evidence, 2: evidence }],
  [
    "members that are numbered wrongly",
    { members: [{ ...member, index: 2 }, member] },
    { 1: evidence, 2: evidence },
  ],
  ["a threshold of zero", { threshold: 0 }, { 1: evidence }],
  ["a threshold above its size", { threshold: 2 }, { 1: evidence }],
  ...(
    [
      ["no witnesses", [], 0],
      ["fewer witnesses than are due", ["a", "b"], 3],
      ["no witness due", ["a"], 0],
      ["witnesses out of order", ["b", "a"], 1],
      ["a witness twice", ["a", "a"], 1],
      ["two witnesses with one key", ["a", "a'"], 1],
    ] as [string, string[], number][]
  ).map(([what, names, countMin]): [string, Partial<AuthorityStatement>, Record<number, typeof evidence>] => [
    what,
    { log: { ...authorityStatement.log, witnesses: { countMin, members: names.map(witness) } } },
    { 1: evidence },
  ]),
  [
    "so many unproven members that they could sign",
    { members: [member, { ...bare, index: 2 }] },
    { 1: evidence },
  ],
])("an authority with %s is refused", (_, changes, pieces) => {
  const der = issueAuthority({ statement: { ...authorityStatement, ...changes }, evidence: pieces });
  expect(codes(verifyAuthorityCertificate(der, { nowMs: NOW_MS }))).toEqual(["CERTIFICATE_MALFORMED"]);
});

test("a certificate with any changed byte is refused, and nothing throws", () => {
  const der = issueNode();
  for (let at = 0; at < der.length; at++) {
    for (const bit of [1, 0x20, 0x80]) {
      const changed = der.with(at, (der[at] as number) ^ bit);
      expect(verifyNodeCertificate(changed, options).ok, `byte ${at}`).toBe(false);
    }
  }
});

test("bytes that are no certificate are refused, and nothing throws", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(verifyNodeCertificate(bytes, options).ok).toBe(false);
      expect(verifyAuthorityCertificate(bytes, { nowMs: NOW_MS }).ok).toBe(false);
    }),
  );
  expect(codes(verifyNodeCertificate(new Uint8Array(300_000), options))).toEqual(["CERTIFICATE_MALFORMED"]);
});

const leafSerial = new X509Certificate(issueNode()).serialNumber.toLowerCase();
const list = (revoked: { serial: string; timeMs: number }[], sign = signer("authority")): Uint8Array =>
  issueRevocationList(
    key("authority"),
    { number: 7, thisUpdateMs: NOW_MS - 1000, nextUpdateMs: NOW_MS + HOUR_MS, revoked },
    sign,
  );

test("a revoked certificate is refused, and one that is not on the list is not", () => {
  const revoked = list([{ serial: leafSerial, timeMs: NOW_MS - 1000 }]);
  expect(codes(verifyNodeCertificate(issueNode(), { ...options, revocationList: revoked }))).toEqual([
    "CERTIFICATE_REVOKED",
  ]);
  const other = list([{ serial: toHex(serial("x")), timeMs: NOW_MS - 1000 }]);
  expect(verifyNodeCertificate(issueNode(), { ...options, revocationList: other }).ok).toBe(true);
  expect(verifyNodeCertificate(issueNode(), { ...options, revocationList: list([]) }).ok).toBe(true);
});

test("a revocation list that is forged or too old counts as none, and so the certificate is refused", () => {
  const forged = list([], signer("impostor"));
  expect(codes(verifyNodeCertificate(issueNode(), { ...options, revocationList: forged }))).toEqual([
    "CERTIFICATE_CRL_SIGNATURE_INVALID",
  ]);
  const old = issueRevocationList(
    key("authority"),
    { number: 6, thisUpdateMs: NOW_MS - 2 * HOUR_MS, nextUpdateMs: NOW_MS - HOUR_MS, revoked: [] },
    signer("authority"),
  );
  expect(codes(verifyNodeCertificate(issueNode(), { ...options, revocationList: old }))).toEqual([
    "CERTIFICATE_CRL_EXPIRED",
  ]);
  expect(codes(verifyNodeCertificate(issueNode(), { ...options, revocationList: sha256(old) }))).toEqual([
    "CERTIFICATE_MALFORMED",
  ]);
});

function replace(bytes: Uint8Array, from: Uint8Array, to: Uint8Array): Uint8Array {
  const text = Buffer.from(bytes).toString("latin1");
  return new Uint8Array(
    Buffer.from(
      text.replace(Buffer.from(from).toString("latin1"), Buffer.from(to).toString("latin1")),
      "latin1",
    ),
  );
}
