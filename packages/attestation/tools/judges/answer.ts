import type { Claims } from "../../src/index.ts";
import type { Verdict } from "@cloister/core";
import type { VectorAnswer } from "./entry.ts";

/** The answer that a verdict amounts to; `describe` reads the fields, also of what was refused. */
export function answerOf(
  verdict: Verdict<Pick<Claims, "debug" | "tcb">>,
  describe: () => Record<string, unknown>,
  further: Record<string, unknown> = {},
): VectorAnswer {
  const described = readable(describe);
  const fields = described ?? {};
  if (!verdict.ok)
    return { verdict: "reject", fields, further, codes: verdict.refusals.map(({ code }) => code) };
  const { debug, tcb } = verdict.value;
  const valid = tcb.status === "UpToDate" ? "valid" : "valid-with-status";
  const { status: tcbStatus, advisoryIds } = tcb;
  return { verdict: debug ? "policy-reject" : valid, tcbStatus, advisoryIds, fields, further, codes: [] };
}

/** What a parser reads out, or nothing where it cannot. */
export function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
