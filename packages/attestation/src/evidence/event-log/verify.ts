/** Verification of a TD's event log: the quote that comes with it proves the registers, the replay the log. */
import { toHex, type Verdict } from "@cloister/core";
import { replayEvents, type Rtmrs } from "../../measure/event-log.ts";
import type { Claims, Endorsements, Evidence, TrustRoots, VerifyOptions } from "../../types.ts";
import { parseQuote, verifyDcap } from "../dcap/index.ts";
import { Findings } from "../findings.ts";
import { parseEventLog, type LogEvent } from "./log.ts";

/**
 * Verifies a log together with `evidence.parts.quote`, the TD quote whose RTMRs it must lead to; endorsements
 * are the quote's. The claims are the quote's, with the events among the fields.
 */
export function verifyEventLog(
  evidence: Evidence,
  endorsements: Endorsements,
  options: VerifyOptions,
  roots: TrustRoots,
): Verdict<Claims> {
  const findings = new Findings();
  const bytes = evidence.parts?.["quote"];
  const replay = findings.attempt("EVENT_LOG_MALFORMED", () => {
    const events = parseEventLog(evidence.bytes);
    return { events, rtmrs: replayEvents(events) };
  });
  if (bytes === undefined) {
    findings.fail(
      "EVENT_LOG_WITHOUT_QUOTE",
      "A log proves nothing without the quote whose registers it explains.",
    );
    return findings.refused();
  }
  const quote = verifyDcap(
    { tee: "tdx", bytes },
    { tee: "tdx", parts: endorsements.parts },
    { ...options, roots },
    roots.pins.intel ?? [],
  );
  if (!quote.ok) findings.refusals.push(...quote.refusals);
  if (!quote.ok || replay === undefined) return findings.refused();
  const claims = quote.value;
  const differing = Object.entries(replay.rtmrs).filter(
    ([name, value]) => claims.measurements[name] !== value,
  );
  findings.check(
    differing.length === 0,
    "EVENT_LOG_MISMATCH",
    `The log does not lead to the quote's ${differing.map(([name]) => name).join(", ")}.`,
  );
  return findings.verdict(() => ({
    ...claims,
    tee: "tcg-eventlog",
    fields: { ...claims.fields, events: replay.events.map(describeEvent) },
  }));
}

/** Says what a log holds and leads to, without judging it. @throws {CloisterError} `EVENT_LOG_MALFORMED`, `DCAP_QUOTE_MALFORMED` */
export function describeEventLog(evidence: Evidence): Record<string, unknown> {
  const events = parseEventLog(evidence.bytes);
  const replayedRtmr = replayEvents(events);
  const quote = evidence.parts?.["quote"];
  return {
    replayedRtmr,
    ...(quote === undefined ? {} : { matchesQuote: matches(replayedRtmr, quote) }),
    events: events.map(describeEvent),
  };
}

function matches(replayed: Rtmrs, quote: Uint8Array): boolean[] {
  const { body } = parseQuote(quote);
  if (body.kind !== "tdx") return [];
  const values = Object.values(replayed);
  return body.report.rtmrs.map((rtmr, i) => toHex(rtmr) === values[i]);
}

function describeEvent({ register, typeName, digest, data, dataBound }: LogEvent): Record<string, unknown> {
  return { register, type: typeName, digest: toHex(digest), sizeBytes: data.length, dataBound };
}
