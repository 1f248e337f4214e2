import { appraise, simulationRoots, verify, type AppraisalPolicy } from "@cloister/attestation";
import { parseAddress, sha256, utf8, type Entropy, type NodeId, type Verdict } from "@cloister/core";
import { expect, test } from "vitest";
import {
  certifyReportData,
  ChallengeBook,
  judgeIssuance,
  type CertificateRequest,
  type IssuanceQuestion,
} from "../../src/index.ts";
import { endorsements, measurement, quote } from "../proof/forger.ts";
import { key, node, NOW_MS, realm } from "../world.ts";

let drawn = 0;
const entropy: Entropy = (length) => sha256(utf8(`entropy ${drawn++}`)).subarray(0, length);
const policy: AppraisalPolicy = { tees: ["tdx"], tcbStatuses: ["UpToDate"], simulated: "require" };
const keys = { identity: key("identity"), settlement: node, wrap: key("wrap") };

/** Asks as a node would, and gives all that the authority then looks at. */
function ask(
  twist: {
    readonly answered?: Uint8Array;
    readonly redeemed?: (book: ChallengeBook, challenge: Uint8Array) => Verdict<Uint8Array>;
    readonly boundKeys?: CertificateRequest["keys"];
    readonly software?: string;
    readonly checkChallenge?: boolean;
    readonly approved?: boolean;
    readonly policy?: AppraisalPolicy;
    readonly keys?: CertificateRequest["keys"];
  } = {},
): IssuanceQuestion {
  const book = new ChallengeBook();
  const challenge = book.issue(entropy, NOW_MS);
  const asked = twist.keys ?? keys;
  const reportData = certifyReportData(twist.answered ?? challenge, twist.boundKeys ?? asked);
  const evidence = quote(reportData, twist.software);
  const expected = twist.checkChallenge === false ? {} : { challenge: certifyReportData(challenge, asked) };
  const claims = verify(evidence, endorsements, { nowMs: NOW_MS, roots: simulationRoots, ...expected });
  const loose = verify(evidence, endorsements, { nowMs: NOW_MS, roots: simulationRoots });
  if (!loose.ok) throw new Error(loose.refusals[0].reason);
  return {
    request: { keys: asked, challenge, evidence },
    challenge: (twist.redeemed ?? ((b, c) => b.redeem(c, NOW_MS + 10)))(book, challenge),
    result: appraise(claims.ok ? claims.value : loose.value, [{ measurement }], twist.policy ?? policy),
    endorsements,
    realm,
    isApproved: (one) => (twist.approved ?? true) && one === measurement,
  };
}

const codes = (question: IssuanceQuestion): string[] => {
  const verdict = judgeIssuance(question);
  return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
};

test("a fresh, appraised and approved request is certified with what was found", () => {
  const question = ask();
  const verdict = judgeIssuance(question);
  expect(verdict).toMatchObject({
    ok: true,
    value: {
      ...realm,
      settlement: node,
      wrap: keys.wrap,
      measurement,
      tcbStatus: "UpToDate",
      simulated: true,
    },
  });
  expect(verdict.ok && verdict.value.challenge).toEqual(question.request.challenge);
});

test("a measurement that the chain does not approve is not certified", () => {
  expect(codes(ask({ approved: false }))).toEqual(["MEASUREMENT_NOT_APPROVED"]);
  expect(codes(ask({ software: "malware" }))).toContain("MEASUREMENT_NOT_APPROVED");
});

test("evidence that answers another challenge, or binds other keys, is not certified", () => {
  const other = { ...keys, wrap: key("other") };
  expect(codes(ask({ answered: sha256(utf8("old challenge")) }))).toContain("CERTIFY_BINDING_MISMATCH");
  expect(codes(ask({ boundKeys: other }))).toContain("CERTIFY_BINDING_MISMATCH");
  expect(codes(ask({ checkChallenge: false }))).toContain("CERTIFY_BINDING_MISMATCH");
  const impostor = { ...keys, settlement: parseAddress(`0x${"33".repeat(20)}`) as NodeId };
  expect(codes(ask({ boundKeys: impostor }))).toContain("CERTIFY_BINDING_MISMATCH");
});

test("whatever the appraisal refuses is not certified", () => {
  expect(codes(ask({ policy: { ...policy, simulated: "refuse" } }))).toContain("TEE_SIMULATED");
  const question = ask();
  const empty = { ...question.result, status: "contraindicated" as const, refusals: [] };
  expect(codes({ ...question, result: empty })).toEqual(["CERTIFY_NOT_AFFIRMED"]);
});

test("a challenge is good once, for a while, and for the request that answers it", () => {
  const twice = (book: ChallengeBook, challenge: Uint8Array): Verdict<Uint8Array> => {
    book.redeem(challenge, NOW_MS);
    return book.redeem(challenge, NOW_MS);
  };
  expect(codes(ask({ redeemed: twice }))).toEqual(["CERTIFY_CHALLENGE_UNKNOWN"]);
  expect(codes(ask({ redeemed: (book, c) => book.redeem(c, NOW_MS + 60_001) }))).toEqual([
    "CERTIFY_CHALLENGE_EXPIRED",
  ]);
  const swapped = { ok: true as const, value: sha256(utf8("another")) };
  expect(codes(ask({ redeemed: () => swapped }))).toEqual(["CERTIFY_CHALLENGE_UNKNOWN"]);
});

test("keys of a wrong size are not certified", () => {
  expect(codes(ask({ keys: { ...keys, wrap: new Uint8Array(31) } }))).toEqual(["CERTIFY_KEYS_MALFORMED"]);
});

test("asking for many challenges pushes out the oldest and costs no memory", () => {
  const book = new ChallengeBook({ openMax: 3, lifetimeMs: 1000 });
  const challenges = Array.from({ length: 5 }, () => book.issue(entropy, NOW_MS));
  expect(challenges.map((one) => book.redeem(one, NOW_MS).ok)).toEqual([false, false, true, true, true]);
});
