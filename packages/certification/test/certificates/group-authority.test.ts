import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { appraise, simulationRoots, toPem, verify, type AppraisalPolicy } from "@cloister/attestation";
import { parseAddress, sha256, utf8, type Refusal, type Verdict } from "@cloister/core";
import { expect, test } from "vitest";
import {
  authorityReportData,
  AuthorityShare,
  certifyReportData,
  combineShares,
  endorsementsDigest,
  groupCertificate,
  jointChallenge,
  judgeRequest,
  prepareAuthorityCertificate,
  publicKeyOf,
  verifyAuthorityCertificate,
  verifyNodeCertificate,
  type AuthorityStatement,
  type ChallengePart,
  type GroupIssuance,
  type KeyShare,
  type MemberView,
  type SignatureShare,
} from "../../src/index.ts";
import { endorsements, measurement, quote } from "../proof/forger.ts";
import { entropyFrom, generate, names, signWith } from "../threshold/hall.ts";
import { authorityStatement, HOUR_MS, key, node, NOW_MS, realm, serial } from "../world.ts";

const shares = Object.values(generate(names(5), 3, "authority"));
const group = (shares[0] as KeyShare).group;
const authorityKey = publicKeyOf(group);
const policy: AppraisalPolicy = { tees: ["tdx"], tcbStatuses: ["UpToDate"], simulated: "require" };
const keys = { identity: key("identity"), settlement: node, wrap: key("wrap") };

const view: MemberView = {
  nowMs: NOW_MS + 20,
  lifetimeMsMax: 2 * HOUR_MS,
  realm,
  isBarred: () => false,
  isApproved: (one) => one === measurement,
  appraise(evidence, by, challenge) {
    const claims = verify(evidence, by, { nowMs: NOW_MS, roots: simulationRoots, challenge });
    return claims.ok ? { ok: true, value: appraise(claims.value, [{ measurement }], policy) } : claims;
  },
};

function begin(signers: readonly number[] = [1, 3, 5]) {
  const members = shares.map((share) => new AuthorityShare(share));
  const parts = signers.map((index) =>
    (members[index - 1] as AuthorityShare).challenge(entropyFrom(`member ${index}`), NOW_MS),
  );
  return { members, parts };
}

function issuanceFor(
  parts: readonly ChallengePart[],
  changes: Partial<GroupIssuance> = {},
  software?: string,
): GroupIssuance {
  const challenge = jointChallenge(parts);
  const evidence = quote(certifyReportData(challenge, keys), software);
  const terms = { nowMs: NOW_MS, lifetimeMs: HOUR_MS, endorsements };
  return { parts, request: { keys, challenge, evidence }, ...terms, ...changes };
}

function issue(signers: readonly number[]): Uint8Array {
  const { members, parts } = begin(signers);
  const issuance = issuanceFor(parts);
  const signed = signers.map((index) => (members[index - 1] as AuthorityShare).sign(issuance, view));
  const given = signed.flatMap((verdict): SignatureShare[] => (verdict.ok ? [verdict.value] : []));
  const statement = judgeRequest(
    issuance.request,
    endorsements,
    { ok: true, value: jointChallenge(parts) },
    view,
  );
  if (!statement.ok) throw new Error(statement.refusals[0].reason);
  const unsigned = groupCertificate(authorityKey, issuance, statement.value);
  const commitments = parts.map(({ commitment }) => commitment);
  const outcome = combineShares(group, commitments, unsigned.toBeSigned, given);
  if (!outcome.ok) throw new Error(`no signature: ${outcome.culprits.join()}`);
  return unsigned.finish(outcome.signature);
}

/** The authority's own certificate: evidence of three of the five, so that two could not sign alone. */
function authorityCertificate(): Uint8Array {
  const [member] = authorityStatement.members;
  const proven = [1, 2, 4];
  const members = shares.map(({ index }) => {
    const signer = parseAddress(`0x${String(index).repeat(40)}`);
    const named = { index, signer, endorsements: endorsementsDigest(endorsements) };
    return proven.includes(index) ? named : { index, signer };
  }) as unknown as AuthorityStatement["members"];
  expect(member.index).toBe(1);
  const statement: AuthorityStatement = { ...authorityStatement, measurement, threshold: 3, members };
  const evidence = Object.fromEntries(
    proven.map((index) => [index, quote(authorityReportData(authorityKey, statement, index))]),
  );
  const unsigned = prepareAuthorityCertificate({
    nowMs: NOW_MS,
    lifetimeMs: 24 * HOUR_MS,
    serial: serial("authority"),
    key: authorityKey,
    statement,
    evidence,
  });
  const outcome = signWith(shares.slice(0, 3), unsigned.toBeSigned, "root");
  if (!outcome.ok) throw new Error("no signature");
  return unsigned.finish(outcome.signature);
}

test("any three of five certify a node, and the certificate is like any other", () => {
  for (const signers of [
    [1, 3, 5],
    [2, 3, 4],
    [1, 2, 3, 4, 5],
  ]) {
    const verdict = verifyNodeCertificate(issue(signers), { authorityKey, nowMs: NOW_MS, realm });
    expect(verdict).toMatchObject({ ok: true, value: { keys } });
  }
});

test("an authority of shares proves so many members that the others could not sign", () => {
  const verdict = verifyAuthorityCertificate(authorityCertificate(), { nowMs: NOW_MS, realm });
  expect(verdict).toMatchObject({ ok: true, value: { key: authorityKey, statement: { threshold: 3 } } });
  if (!verdict.ok) return;
  expect(verdict.value.evidence.map(({ member }) => member.index)).toEqual([1, 2, 4]);
  for (const { evidence, reportData } of verdict.value.evidence) {
    expect(
      verify(evidence, endorsements, { nowMs: NOW_MS, roots: simulationRoots, challenge: reportData }).ok,
    ).toBe(true);
  }
});

const openssl = spawnSync("openssl", ["version"]).status === 0;
test.skipIf(!openssl)("openssl verify accepts a chain whose key nobody holds (needs openssl)", () => {
  const cwd = mkdtempSync(join(tmpdir(), "cloister-openssl-"));
  try {
    writeFileSync(join(cwd, "ca.pem"), toPem(authorityCertificate()));
    writeFileSync(join(cwd, "node.pem"), toPem(issue([2, 4, 5])));
    const args = [
      "verify",
      "-x509_strict",
      "-attime",
      String(NOW_MS / 1000),
      "-CAfile",
      "ca.pem",
      "node.pem",
    ];
    expect(String(spawnSync("openssl", args, { cwd }).stdout)).toBe("node.pem: OK\n");
  } finally {
    rmSync(cwd, { recursive: true });
  }
});

const codes = (verdict: Verdict<unknown>): string[] =>
  verdict.ok ? [] : verdict.refusals.map(({ code }: Refusal) => code);

test("a member that signs alone certifies nothing", () => {
  const { members, parts } = begin([2]);
  expect(codes((members[1] as AuthorityShare).sign(issuanceFor(parts), view))).toEqual([
    "CERTIFY_SIGNERS_INVALID",
  ]);
  const two = begin([2, 3]);
  expect(codes((two.members[1] as AuthorityShare).sign(issuanceFor(two.parts), view))).toEqual([
    "CERTIFY_SIGNERS_INVALID",
  ]);
});

test("a member signs once per challenge", () => {
  const { members, parts } = begin();
  const issuance = issuanceFor(parts);
  expect((members[0] as AuthorityShare).sign(issuance, view).ok).toBe(true);
  expect(codes((members[0] as AuthorityShare).sign(issuance, view))).toEqual(["CERTIFY_CHALLENGE_UNKNOWN"]);
  expect(codes((members[1] as AuthorityShare).sign(issuance, view))).toEqual(["CERTIFY_CHALLENGE_UNKNOWN"]);
});

test.each<[string, (parts: readonly ChallengePart[]) => GroupIssuance, Partial<MemberView>, string]>([
  [
    "answered too late",
    (parts) => issuanceFor(parts),
    { nowMs: NOW_MS + 61_000 },
    "CERTIFY_CHALLENGE_EXPIRED",
  ],
  ["dated back", (parts) => issuanceFor(parts, { nowMs: NOW_MS - HOUR_MS }), {}, "CERTIFY_TIME_REFUSED"],
  [
    "good for too long",
    (parts) => issuanceFor(parts, { lifetimeMs: 3 * HOUR_MS }),
    {},
    "CERTIFY_LIFETIME_REFUSED",
  ],
  [
    "for software that this member does not see approved",
    (parts) => issuanceFor(parts),
    { isApproved: () => false },
    "MEASUREMENT_NOT_APPROVED",
  ],
  [
    "for a node that was revoked",
    (parts) => issuanceFor(parts),
    { isBarred: (id) => id === node },
    "NODE_REVOKED",
  ],
  ["for other software", (parts) => issuanceFor(parts, {}, "malware"), {}, "MEASUREMENT_NOT_APPROVED"],
  [
    "for other keys than the evidence binds",
    (parts) => {
      const issuance = issuanceFor(parts);
      return { ...issuance, request: { ...issuance.request, keys: { ...keys, wrap: key("other") } } };
    },
    {},
    "REPORT_DATA|CHALLENGE",
  ],
  [
    "that answers old challenges",
    (parts) => {
      const issuance = issuanceFor(parts);
      const challenge = sha256(utf8("old"));
      return {
        ...issuance,
        request: { ...issuance.request, challenge, evidence: quote(certifyReportData(challenge, keys)) },
      };
    },
    {},
    "CERTIFY_CHALLENGE_UNKNOWN",
  ],
  [
    "in which its own commitment was exchanged",
    (parts) => {
      const [first, ...rest] = parts as [ChallengePart, ...ChallengePart[]];
      const other = (rest[0] as ChallengePart).commitment;
      return issuanceFor([{ ...first, commitment: { ...other, index: first.index } }, ...rest]);
    },
    {},
    "CERTIFY_COMMITMENT_SWAPPED",
  ],
])("a member does not sign a certificate %s", (_, make, changed, code) => {
  const { members, parts } = begin();
  const verdict = (members[0] as AuthorityShare).sign(make(parts), { ...view, ...changed });
  expect(codes(verdict).join(" ")).toMatch(new RegExp(code));
});

test("a wrong signature share is found, and its member named", () => {
  const { members, parts } = begin();
  const issuance = issuanceFor(parts);
  const given = [1, 3, 5].flatMap((index) => {
    const verdict = (members[index - 1] as AuthorityShare).sign(issuance, view);
    return verdict.ok ? [verdict.value] : [];
  });
  const statement = judgeRequest(
    issuance.request,
    endorsements,
    { ok: true, value: jointChallenge(parts) },
    view,
  );
  if (!statement.ok) throw new Error("unexpected");
  const { toBeSigned } = groupCertificate(authorityKey, issuance, statement.value);
  const commitments = parts.map(({ commitment }) => commitment);
  expect(combineShares(group, commitments, toBeSigned, given).ok).toBe(true);
  for (const wrong of [new Uint8Array(32), new Uint8Array(32).fill(255), new Uint8Array(3)]) {
    const forged = given.map((share) => (share.index === 3 ? { ...share, share: wrong } : share));
    expect(combineShares(group, commitments, toBeSigned, forged)).toEqual({ ok: false, culprits: [3] });
  }
  expect(combineShares(group, commitments, toBeSigned, given.slice(1))).toEqual({ ok: false, culprits: [1] });
  expect(combineShares(group, commitments, utf8("another message"), given)).toEqual({
    ok: false,
    culprits: [1, 3, 5],
  });
});
