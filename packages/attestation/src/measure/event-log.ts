import { CloisterError, concat, sha384, toHex } from "@cloister/core";
import { EV_NO_ACTION, parseEventLog, type LogEvent } from "../evidence/event-log/log.ts";

const REGISTERS = 4;
const DIGEST_BYTES = 48;

/** The values of a TD's four runtime registers, lower-case hex. */
export type Rtmrs = Readonly<Record<"rtmr0" | "rtmr1" | "rtmr2" | "rtmr3", string>>;

/**
 * Computes the RTMRs that a TD has after the events of a log (a CCEL table's contents).
 * @throws {CloisterError} `EVENT_LOG_MALFORMED`
 */
export function measureEventLog(log: Uint8Array): Rtmrs {
  return replayEvents(parseEventLog(log));
}

/** Extends each register by its events, in order: SHA-384 of the register and the digest. */
export function replayEvents(events: readonly LogEvent[]): Rtmrs {
  const registers = Array.from({ length: REGISTERS }, () => new Uint8Array(DIGEST_BYTES));
  for (const { register, type, digest } of events) {
    // Register 0 is MRTD, which no event extends: what a log says about it proves nothing.
    if (type === EV_NO_ACTION || register === 0) continue;
    const index = register - 1;
    const value = registers[index];
    if (value === undefined) {
      throw new CloisterError(
        "EVENT_LOG_MALFORMED",
        `An event is about register ${register}; a TD has 0 to 4.`,
        { hint: "Give a TD's log: a TPM's is about platform configuration registers." },
      );
    }
    registers[index] = new Uint8Array(sha384(concat(value, digest)));
  }
  const [rtmr0, rtmr1, rtmr2, rtmr3] = registers.map(toHex) as [string, string, string, string];
  return { rtmr0, rtmr1, rtmr2, rtmr3 };
}
