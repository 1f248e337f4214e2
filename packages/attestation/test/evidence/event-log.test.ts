import { concat, sha384, toHex, utf8 } from "@cloister/core";
import { describe, expect, test } from "vitest";
import {
  createSimulatedPlatform,
  describeEventLog,
  measureEventLog,
  simulatedTdxQuote,
  simulationEndorsements,
  simulationRoots,
  verify,
  type Endorsements,
} from "../../src/index.ts";
import { forgeEventLog, type ForgedEvent } from "../forger/event-log.ts";
import { FORGED_NOW_MS } from "../forger/intel.ts";

const REPORT_DATA = new Uint8Array(64).fill(3);
const EVENTS: readonly ForgedEvent[] = [
  { register: 1, data: utf8("firmware") },
  { register: 2, data: utf8("kernel") },
  { register: 1, type: 3, data: utf8("no action") },
  { register: 2, data: utf8("command line") },
];

function extended(...data: readonly string[]): Uint8Array {
  return data
    .map(utf8)
    .reduce((register, event) => sha384(concat(register, sha384(event))), new Uint8Array(48));
}

const RTMRS = [
  extended("firmware"),
  extended("kernel", "command line"),
  new Uint8Array(48),
  new Uint8Array(48),
] as const;

function judge(log: Uint8Array, options: { challenge?: Uint8Array; quote?: Uint8Array | null } = {}) {
  const platform = createSimulatedPlatform(new Uint8Array(32).fill(1));
  const quote =
    options.quote === null
      ? undefined
      : (options.quote ??
        simulatedTdxQuote(platform, {
          mrTd: new Uint8Array(48).fill(9),
          rtmrs: [...RTMRS],
          reportData: REPORT_DATA,
        }));
  const evidence = { tee: "tcg-eventlog", bytes: log, ...(quote && { parts: { quote } }) } as const;
  const endorsements: Endorsements = {
    tee: "tcg-eventlog",
    parts: simulationEndorsements(FORGED_NOW_MS).parts,
  };
  const { challenge } = options;
  return verify(evidence, endorsements, { nowMs: FORGED_NOW_MS, roots: simulationRoots, challenge });
}

function codes(verdict: ReturnType<typeof judge>): string[] {
  return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
}

describe("event logs", () => {
  test("lead to the registers of their quote", () => {
    const verdict = judge(forgeEventLog(EVENTS), { challenge: REPORT_DATA });
    expect(verdict).toMatchObject({
      ok: true,
      value: { tee: "tcg-eventlog", simulated: true, challengeVerified: true },
    });
  });

  test.each([0, 0xff])("may end in padding of %i", (byte) => {
    expect(codes(judge(forgeEventLog(EVENTS, new Uint8Array(1000).fill(byte))))).toEqual([]);
  });

  test("tell which data the registers prove", () => {
    const log = forgeEventLog([
      { register: 1, data: utf8("a") },
      { register: 1, data: utf8("b"), digest: new Uint8Array(48) },
    ]);
    const { events } = describeEventLog({ tee: "tcg-eventlog", bytes: log });
    expect(events).toMatchObject([{ dataBound: true }, { dataBound: false }]);
  });

  test("that leave an event out, reorder, or add one are refused", () => {
    const [first, second, third, fourth] = EVENTS as [ForgedEvent, ForgedEvent, ForgedEvent, ForgedEvent];
    for (const events of [
      [first, second],
      [first, fourth, third, second],
      [...EVENTS, first],
    ]) {
      expect(codes(judge(forgeEventLog(events)))).toEqual(["EVENT_LOG_MISMATCH"]);
    }
  });

  test("without a quote, or with a forged one, prove nothing", () => {
    expect(codes(judge(forgeEventLog(EVENTS), { quote: null }))).toEqual(["EVENT_LOG_WITHOUT_QUOTE"]);
    expect(codes(judge(forgeEventLog(EVENTS), { quote: new Uint8Array(100) }))).toContain(
      "DCAP_QUOTE_MALFORMED",
    );
    expect(codes(judge(forgeEventLog(EVENTS), { challenge: new Uint8Array(64) }))).toContain(
      "CHALLENGE_MISMATCH",
    );
  });

  test.each([
    ["cut off", forgeEventLog(EVENTS).subarray(0, -1)],
    ["without a header", forgeEventLog(EVENTS).subarray(65)],
    ["of a register that no TD has", forgeEventLog([{ register: 5, data: new Uint8Array(1) }])],
    ["with padding that is none", forgeEventLog(EVENTS, new Uint8Array([0, 0, 1]))],
    ["empty", new Uint8Array(0)],
  ])("%s are refused", (_, log) => {
    expect(codes(judge(log))).toContain("EVENT_LOG_MALFORMED");
  });
});

test("registers are computed from a log alone", () => {
  const [rtmr0, rtmr1, rtmr2, rtmr3] = RTMRS.map(toHex);
  expect(measureEventLog(forgeEventLog(EVENTS))).toEqual({ rtmr0, rtmr1, rtmr2, rtmr3 });
});
