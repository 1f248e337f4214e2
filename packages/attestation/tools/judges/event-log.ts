import { describeEventLog, type Evidence } from "../../src/index.ts";
import { readable } from "./answer.ts";
import { pathOf, type Judge } from "./entry.ts";

/** Event logs: valid when they can be read and lead to the registers of their quote, where there is one. */
export const judgeEventLog: Judge = (entry, load, main) => {
  const quote = entry.files["quote"] === undefined ? undefined : load(pathOf(entry, "quote"));
  const evidence: Evidence = {
    tee: "tcg-eventlog",
    bytes: main ?? load(pathOf(entry, "log")),
    ...(quote === undefined ? {} : { parts: { quote } }),
  };
  const described = readable(() => describeEventLog(evidence));
  if (described === undefined) return { verdict: "reject", fields: {}, codes: ["EVENT_LOG_MALFORMED"] };
  const { matchesQuote, replayedRtmr, events } = described;
  const matched = matchesQuote as boolean[] | undefined;
  const matches = matched === undefined || (matched.length === 4 && matched.every(Boolean));
  return {
    verdict: matches ? "valid" : "reject",
    fields: described,
    further: { replayedRtmr, matchesQuote, events: (events as unknown[]).length },
    codes: matches ? [] : ["EVENT_LOG_MISMATCH"],
  };
};
