/**
 * The certification authority's work, for 3 of 5 and 7 of 10: generating its key, handing it on, and issuing one
 * certificate (each signer verifies and appraises the evidence for itself). CPU milliseconds, medians; all members
 * run in this one process, one after the other. OpenSSL's signing of the same bytes with one key is the floor.
 *
 *   node bench/certificates.ts [--rounds 5] [--json]
 */
import { generateKeyPairSync, randomBytes, sign as opensslSign } from "node:crypto";
import { readFlags, wholeNumber } from "@cloister/tools/flags";
import { atMost, printReport } from "@cloister/tools/report";
import {
  appraise,
  createSimulatedPlatform,
  simulatedTdxQuote,
  simulationEndorsements,
  simulationRoots,
  verify,
  type AppraisalPolicy,
} from "../packages/attestation/src/index.ts";
import {
  AuthorityShare,
  certifyReportData,
  combineShares,
  groupCertificate,
  jointChallenge,
  judgeRequest,
  KeyCeremony,
  publicKeyOf,
  verifyNodeCertificate,
  type CeremonyMember,
  type CeremonyPlan,
  type KeyShare,
  type MemberView,
  type NodeKeys,
  type SignatureShare,
} from "../packages/certification/src/index.ts";
import { ed25519PublicKey, ed25519Signer, equalBytes, parseAddress } from "../packages/core/src/index.ts";

const ISSUANCE_CPU_MS_MAX = 300;
const SHAPES = [
  { threshold: 3, size: 5 },
  { threshold: 7, size: 10 },
];
const NOW_MS = Date.now();

const flags = readFlags("npm run bench:certificates -- [--rounds N] [--json]", {
  rounds: { type: "string", default: "5" },
  json: { type: "boolean", default: false },
});

const entropy = (length: number) => new Uint8Array(randomBytes(length));
const endorsements = simulationEndorsements(NOW_MS);
const platform = createSimulatedPlatform(entropy(32));
const zero = new Uint8Array(48);
const quote = (reportData: Uint8Array) => ({
  tee: "tdx" as const,
  bytes: simulatedTdxQuote(platform, { mrTd: zero, rtmrs: [zero, zero, zero, zero], reportData }),
});
const claims = verify(quote(new Uint8Array(64)), endorsements, { nowMs: NOW_MS, roots: simulationRoots });
if (!claims.ok) throw new Error(claims.refusals[0].reason);
const { measurement } = claims.value;
const policy: AppraisalPolicy = { tees: ["tdx"], tcbStatuses: ["UpToDate"], simulated: "require" };
const realm = {
  chainId: 31_337,
  contract: parseAddress(`0x${"c0".repeat(20)}`),
  registry: parseAddress(`0x${"c1".repeat(20)}`),
};
const view: MemberView = {
  nowMs: NOW_MS,
  lifetimeMsMax: 86_400_000,
  realm,
  isBarred: () => false,
  isApproved: (one) => one === measurement,
  appraise(evidence, by, challenge) {
    const verdict = verify(evidence, by, { nowMs: NOW_MS, roots: simulationRoots, challenge });
    return verdict.ok ? { ok: true, value: appraise(verdict.value, [{ measurement }], policy) } : verdict;
  },
};

interface Person {
  readonly identity: Uint8Array;
  readonly sign: (message: Uint8Array) => Uint8Array;
}

function people(count: number): Person[] {
  return Array.from({ length: count }, () => {
    const seed = entropy(32);
    return { identity: ed25519PublicKey(seed), sign: ed25519Signer(seed) };
  });
}

const numbered = (list: readonly Person[]): CeremonyMember[] =>
  list.map(({ identity }, i) => ({ index: i + 1, identity }));

/** Holds a ceremony and gives the members' shares. */
function hold(
  plan: CeremonyPlan,
  all: readonly Person[],
  shares: readonly (KeyShare | undefined)[],
): KeyShare[] {
  const sides = all.map((person, i) => new KeyCeremony(plan, { ...person, share: shares[i] }, entropy));
  for (let busy = true; busy;) {
    busy = false;
    for (const [from, side] of sides.entries()) {
      for (const { to, bytes } of side.takeOutbox()) {
        busy = true;
        for (const [i, receiver] of sides.entries()) {
          const meant = to === undefined || equalBytes(to, (all[i] as Person).identity);
          if (i !== from && meant) receiver.receive(bytes);
        }
      }
    }
  }
  return sides.map(({ outcome }) => {
    if (outcome?.kind !== "done" || outcome.share === undefined) throw new Error("the ceremony failed");
    return outcome.share;
  });
}

function issue(shares: readonly KeyShare[]): void {
  const [first] = shares as [KeyShare];
  const signers = shares.slice(0, first.group.threshold).map((share) => new AuthorityShare(share));
  const parts = signers.map((signer) => signer.challenge(entropy, NOW_MS));
  const challenge = jointChallenge(parts);
  const keys: NodeKeys = {
    identity: ed25519PublicKey(entropy(32)),
    settlement: parseAddress(`0x${"de".repeat(20)}`),
    wrap: entropy(32),
  };
  const request = { keys, challenge, evidence: quote(certifyReportData(challenge, keys)) };
  const issuance = { parts, request, endorsements, nowMs: NOW_MS, lifetimeMs: 3_600_000 };
  const given = signers.flatMap((signer): SignatureShare[] => {
    const verdict = signer.sign(issuance, view);
    return verdict.ok ? [verdict.value] : [];
  });
  const statement = judgeRequest(request, endorsements, { ok: true, value: challenge }, view);
  if (!statement.ok) throw new Error(statement.refusals[0].reason);
  const unsigned = groupCertificate(publicKeyOf(first.group), issuance, statement.value);
  const commitments = parts.map(({ commitment }) => commitment);
  const outcome = combineShares(first.group, commitments, unsigned.toBeSigned, given);
  if (!outcome.ok) throw new Error("no signature");
  const options = { authorityKey: publicKeyOf(first.group), nowMs: NOW_MS };
  if (!verifyNodeCertificate(unsigned.finish(outcome.signature), options).ok) throw new Error("not valid");
}

function cpuMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

const opensslKey = generateKeyPairSync("ed25519").privateKey;
const rounds = wholeNumber("rounds", flags.rounds, 1);
const results = SHAPES.map(({ threshold, size }) => {
  const all = people(size);
  const plan = (): CeremonyPlan => ({ nonce: entropy(32), threshold, members: numbered(all) });
  const shares = hold(plan(), all, []);
  const { group } = shares[0] as KeyShare;
  const again = (): CeremonyPlan => ({
    ...plan(),
    previous: { group, dealers: numbered(all).slice(0, threshold) },
  });
  issue(shares);
  const times = Array.from({ length: rounds }, () => ({
    generate: cpuMs(() => void hold(plan(), all, [])) / size,
    handOn: cpuMs(() => void hold(again(), all, shares)) / size,
    issue: cpuMs(() => issue(shares)),
    floor: cpuMs(() => void opensslSign(null, zero, opensslKey)),
  }));
  const of = (name: "generate" | "handOn" | "issue" | "floor"): number =>
    median(times.map((time) => time[name]));
  return {
    shape: `${threshold} of ${size}`,
    generateMsPerMember: of("generate"),
    handOnMsPerMember: of("handOn"),
    issueMs: of("issue"),
    opensslSignMs: of("floor"),
  };
});

const round2 = (value: number): number => Math.round(value * 100) / 100;
const figures = results.map((result) =>
  Object.fromEntries(
    Object.entries(result).map(([name, value]) => [name, typeof value === "number" ? round2(value) : value]),
  ),
);
const goals = results.map(({ shape, issueMs }) =>
  atMost(`issuance of one certificate, ${shape}: CPU ms in all`, issueMs, ISSUANCE_CPU_MS_MAX),
);
const say = flags.json ? console.error : console.log;
for (const figure of figures) {
  const parts = Object.entries(figure).map(([name, value]) => `${name} ${value}`);
  say(parts.join(", "));
}
printReport({ name: "certificates", figures: { shapes: figures }, goals }, flags.json);
