import { describeAwsNitro, verify, type Evidence } from "../../src/index.ts";
import { answerOf, readable } from "./answer.ts";
import { pathOf, timeOf, type Judge } from "./entry.ts";
import { rootsOf } from "./snp.ts";

/** AWS Nitro Enclaves documents. */
export const judgeNitroDocument: Judge = (entry, load, main) => {
  const evidence: Evidence = { tee: "aws-nitro", bytes: main ?? load(pathOf(entry, "document")) };
  const options = { nowMs: timeOf(entry), ...rootsOf(entry, "aws", load) };
  const verdict = verify(evidence, { tee: "aws-nitro", parts: {} }, options);
  const codes = verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
  const fields = readable(() => describeAwsNitro(evidence));
  const broken = ["BROKEN", "SIGNATURE_INVALID", "MALFORMED", "NOT_AUTHORITY"].map(
    (why) => `NITRO_CHAIN_${why}`,
  );
  return answerOf(verdict, () => fields ?? {}, {
    signature: fields !== undefined && !codes.includes("NITRO_SIGNATURE_INVALID"),
    // Expiry is counted apart: the links hold whatever the time.
    chain: fields !== undefined && ![...broken, "NITRO_ROOT_UNKNOWN"].some((code) => codes.includes(code)),
    debugPcrs: fields?.["debugPcrs"],
  });
};
