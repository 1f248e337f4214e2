import { openOrderReport, verifyOrderReport, integrityDigest } from "@cloister/certification";
import { digestOf, fromUtf8, toHex, utf8, CloisterError, type Address } from "@cloister/core";
import { parseRecipient, seal } from "@cloister/custody";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  endOfOrder,
  openOrderRefusal,
  orderReportData,
  refuseOrder,
  runOrder,
  verifyOrderRefusal,
  type OrderEnd,
  type OrderRun,
} from "../../src/index.ts";
import {
  changeOffer,
  createWorld,
  echoSandbox,
  failingSandbox,
  finished,
  NOW_MS,
  offerAt,
  once,
  otherDigest,
  recordsOver,
  refusingRelease,
  tamper,
  type World,
} from "./world.ts";

const objects = [
  { kind: "engine", content: utf8("engine") },
  { kind: "data", content: utf8("table of A") },
  { kind: "data", content: utf8("table of B") },
] as const;

function endOf(run: OrderRun): OrderEnd {
  if (run.kind === "declined") throw new Error(run.refusals.map(({ code }) => code).join());
  return run.end;
}

describe("an order that passes every check", () => {
  test("runs, and only its recipient can open the result", async () => {
    const world = await createWorld(objects, { args: { inputs: ["a.csv", "b.csv"] } });
    const end = endOf(await runOrder(world.assignment, world.ports));
    expect(end).toMatchObject({ kind: "report", succeeded: true, exitCode: 0, reason: "done" });
    const files = await world.result(end.outputDigest ?? otherDigest);
    expect(files.map(({ name, bytes }) => [name, fromUtf8(bytes)])).toEqual([
      ["A.CSV", "table of A"],
      ["B.CSV", "table of B"],
    ]);
  });

  test("ends with a signed report that says what ran, and evidence binds what was checked", async () => {
    const world = await createWorld(objects);
    const end = endOf(await runOrder(world.assignment, world.ports));
    const signed = openOrderReport(end.statement);
    expect(verifyOrderReport(signed, world.identity)).toBe(true);
    expect(signed.digest).toBe(end.statementDigest);
    const { integrity, outputs, wipe } = signed.report;
    expect(integrity.inputs.map(({ role }) => role)).toEqual(["engine", "data", "data"]);
    expect(integrity.inputs.map(({ content }) => content)).toEqual(
      objects.map(({ content }) => digestOf(content)),
    );
    expect(outputs.map(({ sealed }) => sealed)).toEqual([end.outputDigest, end.outputDigest]);
    expect(outputs[0]?.content).toBe(digestOf(utf8("table of A")));
    expect(toHex(end.evidence ?? new Uint8Array())).toBe(
      toHex(orderReportData(world.orderId, integrityDigest(integrity))),
    );
    expect(wipe.wiped).toEqual(["inputs", "keys", "outputs", "sandbox"]);
  });

  test("leaves no key behind and shows the engine its arguments, in a world without time or chance", async () => {
    const sandbox = echoSandbox();
    const world = await createWorld(objects, { sandbox, args: { engine: '{"target": "x"}' } });
    await runOrder(world.assignment, world.ports);
    expect(world.fileKeys.map(toHex)).toEqual(Array(3).fill("00".repeat(16)));
    const [job] = sandbox.jobs;
    expect(job?.inputs.map(({ name }) => name)).toEqual(["input-0", "input-1"]);
    expect(fromUtf8(job?.args ?? new Uint8Array())).toBe('{"target": "x"}');
    expect(job?.clockMs).toBe(world.chain.order?.openedAtMs);
    expect(job?.seed).toHaveLength(32);
    expect(job?.module.every((byte) => byte === 0)).toBe(true);
  });

  test("gives an engine no more time than the deadline leaves", async () => {
    const sandbox = echoSandbox();
    const world = await createWorld(objects, { sandbox });
    world.nowMs = NOW_MS + 600_000 - 10_000 - 5000;
    await runOrder(world.assignment, world.ports);
    expect(sandbox.jobs[0]?.limits.wallMs).toBeLessThanOrEqual(5000);
  });
});

/** Standing: nothing is signed, the order is left to whom it belongs. */
const declined: readonly [string, string, (world: World) => void][] = [
  ["is not on chain", "LOADER_ORDER_UNKNOWN", (world) => (world.chain.order = undefined)],
  ["is settled", "LOADER_ORDER_CLOSED", (world) => changeOrder(world, { isOpen: false })],
  ["is overdue", "LOADER_DEADLINE_PASSED", (world) => changeOrder(world, { deadlineMs: NOW_MS })],
  ["is of an old term", "LOADER_TERM_STALE", (world) => (world.chain.term = 4)],
  [
    "is assigned by another",
    "LOADER_ASSIGNMENT_FORGED",
    (world) => (world.chain.signer = `0x${"1".repeat(40)}` as Address),
  ],
  ["meets an inactive node", "LOADER_NODE_NOT_ACTIVE", (world) => (world.chain.isActive = false)],
  [
    "meets an unapproved node",
    "LOADER_MEASUREMENT_NOT_APPROVED",
    (world) => (world.chain.isApproved = false),
  ],
  ["meets an expired certificate", "LOADER_CERTIFICATE_EXPIRED", (world) => (world.nowMs += 7_200_000)],
];

function changeOrder(world: World, change: Partial<NonNullable<World["chain"]["order"]>>): void {
  if (world.chain.order !== undefined) world.chain.order = { ...world.chain.order, ...change };
}

test.each(declined)("an order that %s is declined with %s", async (_what, code, change) => {
  const world = await createWorld(objects);
  change(world);
  const run = await runOrder(world.assignment, world.ports);
  expect(run).toMatchObject({
    kind: "declined",
    refusals: expect.arrayContaining([expect.objectContaining({ code })]),
  });
  expect([world.statements, world.keyRequests, [...world.records.keys()]]).toEqual([[], [], []]);
});

test("an assignment to another node is declined with LOADER_NOT_ASSIGNED", async () => {
  const world = await createWorld(objects);
  const run = await runOrder({ ...world.assignment, node: `0x${"2".repeat(40)}` as Address }, world.ports);
  expect(run).toMatchObject({ kind: "declined", refusals: [{ code: "LOADER_NOT_ASSIGNED" }] });
});

/** Checks of the order itself: refused with a signed statement before any key is asked for. */
const refused: readonly [string, string, (world: World) => void | Promise<void>][] = [
  ["a sealed engine with one changed byte", "LOADER_SEALED_DIGEST_MISMATCH", (world) => flip(world, 0, -1)],
  ["a sealed table with one changed byte", "LOADER_SEALED_DIGEST_MISMATCH", (world) => flip(world, 2, -1)],
  ["a changed header", "LOADER_HEADER_DIGEST_MISMATCH", (world) => flip(world, 1, 40)],
  [
    "an offer with another header digest",
    "LOADER_HEADER_DIGEST_MISMATCH",
    (world) => changeOffer(world, 1, { headerDigest: otherDigest }),
  ],
  [
    "an object that is not there",
    "LOADER_OBJECT_MISSING",
    (world) => void world.objects.delete(offerAt(world, 1).sealedDigest),
  ],
  [
    "an offer without consent",
    "LOADER_CONSENT_MISSING",
    (world) => changeOffer(world, 1, { consentDigest: undefined }),
  ],
  [
    "a consent that is not there",
    "LOADER_CONSENT_MISSING",
    (world) => changeOffer(world, 1, { consentDigest: otherDigest }),
  ],
  [
    "a changed consent",
    "LOADER_CONSENT_DIGEST_MISMATCH",
    (world) => tamper(world, offerAt(world, 1).consentDigest ?? otherDigest, invertLast),
  ],
  ["a consent that is none", "CONSENT_MALFORMED", (world) => consentOf(world, 1, utf8("{}"))],
  ["an offer that is not on chain", "LOADER_OFFER_UNKNOWN", (world) => forgetOffer(world, 2)],
  ["data in the engine's place", "LOADER_ENGINE_MISSING", (world) => changeOffer(world, 0, { kind: "data" })],
  ["an unknown offer in the engine's place", "LOADER_OFFER_UNKNOWN", (world) => forgetOffer(world, 0)],
  ["an order of nothing", "LOADER_ENGINE_MISSING", (world) => changeOrder(world, { offers: [] })],
  ["a second engine", "LOADER_ENGINE_AMBIGUOUS", (world) => changeOffer(world, 1, { kind: "engine" })],
  ["a revoked consent", "CONSENT_REVOKED", (world) => changeOffer(world, 1, { revokedAtMs: NOW_MS - 1 })],
  ["runs used up", "CONSENT_RUNS_EXHAUSTED", (world) => changeOffer(world, 1, { runsBefore: 3 })],
  [
    "arguments that are not there",
    "LOADER_ARGUMENTS_MISSING",
    (world) => changeOrder(world, { argsDigest: otherDigest }),
  ],
  [
    "changed arguments",
    "LOADER_ARGUMENTS_DIGEST_MISMATCH",
    (world) => tamper(world, world.chain.order?.argsDigest ?? otherDigest, invertLast),
  ],
  [
    "arguments that are none",
    "ARGUMENTS_MALFORMED",
    async (world) => {
      const { digest } = await world.ports.store.put(once(utf8("none")));
      changeOrder(world, { argsDigest: digest });
    },
  ],
  [
    "another recipient",
    "LOADER_RECIPIENT_MISMATCH",
    (world) => changeOrder(world, { recipientDigest: otherDigest }),
  ],
  [
    "a deadline too near",
    "LOADER_DEADLINE_TOO_NEAR",
    (world) => changeOrder(world, { deadlineMs: NOW_MS + 5000 }),
  ],
];

test.each(refused)("%s is refused with %s before anything is opened", async (_what, code, change) => {
  const world = await createWorld(objects);
  await change(world);
  const end = endOf(await runOrder(world.assignment, world.ports));
  expect(end).toMatchObject({ kind: "refusal", succeeded: false, exitCode: 240, outputDigest: undefined });
  const signed = openOrderRefusal(end.statement);
  expect(verifyOrderRefusal(signed, world.identity)).toBe(true);
  expect(verifyOrderRefusal(signed, new Uint8Array(32))).toBe(false);
  expect(signed.refusal.refusals.map((refusal) => refusal.code)).toContain(code);
  expect(signed.refusal.orderId).toBe(world.orderId);
  expect(world.keyRequests).toEqual([]);
  expect(world.statements).toEqual([end.statement]);
});

function flip(world: World, position: number, at: number): void {
  tamper(world, offerAt(world, position).sealedDigest, (bytes) =>
    bytes.map((byte, i) => (i === (at + bytes.length) % bytes.length ? byte ^ 1 : byte)),
  );
}

function invertLast(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte));
}

async function consentOf(world: World, position: number, document: Uint8Array): Promise<void> {
  const { digest } = await world.ports.store.put(once(document));
  changeOffer(world, position, { consentDigest: digest });
}

function forgetOffer(world: World, position: number): void {
  const offers = world.chain.order?.offers.map(({ id, offer }, i) => ({
    id,
    offer: i === position ? undefined : offer,
  }));
  changeOrder(world, { offers: offers ?? [] });
}

const withheld: readonly [string, object][] = [
  ["CONSENT_ENGINE_NOT_LISTED", { engines: [otherDigest] }],
  ["CONSENT_PURPOSE_NOT_LISTED", { purposes: ["infer"] }],
  ["CONSENT_EXPIRED", { expiresAtMs: NOW_MS - 1 }],
  ["CONSENT_OUTPUT_TOO_LARGE", { outputBytesMax: 1000 }],
  [
    "CONSENT_RECIPIENT_NOT_LISTED",
    { recipients: ["age1gde3ncmahlqd9gg50tanl99r960llztrhfapnmx853s4tjum03uqfssgdh"] },
  ],
  ["CONSENT_TEE_NOT_LISTED", { tees: ["sev-snp"] }],
  ["CONSENT_MEASUREMENT_NOT_LISTED", { measurements: [otherDigest] }],
  ["CONSENT_NODE_NOT_LISTED", { nodes: [`0x${"3".repeat(40)}`] }],
  ["CONSENT_OTHER_MARKET", { market: { chainId: 56, contract: `0x${"4".repeat(40)}` } }],
];

test.each(withheld)("one owner's consent is enough to refuse: %s", async (code, consent) => {
  const [engine, a, b] = objects;
  const world = await createWorld([engine, a, { ...b, consent }]);
  const end = endOf(await runOrder(world.assignment, world.ports));
  expect(end).toMatchObject({ kind: "refusal", reason: code });
  expect(openOrderRefusal(end.statement).refusal.refusals).toHaveLength(1);
  expect(world.keyRequests).toEqual([]);
});

test("every failed check is listed, not only the first", async () => {
  const [engine, a, b] = objects;
  const world = await createWorld([engine, { ...a, consent: { purposes: ["infer"] } }, b]);
  flip(world, 0, -1);
  changeOffer(world, 2, { runsBefore: 3 });
  changeOrder(world, { recipientDigest: otherDigest });
  const end = endOf(await runOrder(world.assignment, world.ports));
  expect(openOrderRefusal(end.statement).refusal.refusals.map(({ code }) => code)).toEqual([
    "LOADER_RECIPIENT_MISMATCH",
    "LOADER_SEALED_DIGEST_MISMATCH",
    "CONSENT_PURPOSE_NOT_LISTED",
    "CONSENT_RUNS_EXHAUSTED",
  ]);
});

test("one changed bit anywhere in the store is refused before anything is opened", async () => {
  const place = fc.record({ object: fc.nat(), at: fc.nat(), bit: fc.nat(7) });
  await fc.assert(
    fc.asyncProperty(place, async ({ object, at, bit }) => {
      const world = await createWorld(objects);
      const digests = [...world.objects.keys()];
      tamper(world, digests[object % digests.length] ?? otherDigest, (bytes) =>
        bytes.map((byte, i) => (i === at % bytes.length ? byte ^ (1 << bit) : byte)),
      );
      expect(endOf(await runOrder(world.assignment, world.ports)).kind).toBe("refusal");
      expect(world.keyRequests).toEqual([]);
    }),
  );
});

test("limits above the node's and wrong counts of names are refused", async () => {
  const large = await createWorld(objects, { args: { memoryBytes: 2 ** 40 } });
  expect(endOf(await runOrder(large.assignment, large.ports)).reason).toBe("LOADER_LIMITS_EXCEEDED");
  const names = await createWorld(objects, { args: { inputs: ["only-one"] } });
  expect(endOf(await runOrder(names.assignment, names.ports)).reason).toBe("LOADER_INPUT_NAMES_MISMATCH");
});

test("inputs beyond the node's memory are refused unread", async () => {
  const world = await createWorld(objects);
  const ports = { ...world.ports, limits: { ...world.ports.limits, inputBytes: 300 } };
  const end = endOf(await runOrder(world.assignment, ports));
  const codes = openOrderRefusal(end.statement).refusal.refusals.map(({ code }) => code);
  expect(codes).toContain("LOADER_INPUTS_TOO_LARGE");
});

/** After the checks: the run happened or began, and a signed report says how it ended. */
describe("a run that fails", () => {
  const failures: readonly [string, number, number][] = [
    ["ENGINE_TIME_EXCEEDED", 0, 201],
    ["ENGINE_MEMORY_EXCEEDED", 0, 202],
    ["ENGINE_OUTPUT_TOO_LARGE", 0, 203],
    ["ENGINE_NO_OUTPUT", 0, 204],
    ["ENGINE_MALFORMED", 0, 205],
    ["ENGINE_IMPORT_FORBIDDEN", 0, 206],
    ["ENGINE_TRAPPED", 0, 200],
    ["ENGINE_EXITED_NONZERO", 7, 7],
  ];

  test.each(failures)("with %s is reported without an output", async (code, engineCode, exitCode) => {
    const world = await createWorld(objects, { sandbox: failingSandbox({ code, exitCode: engineCode }) });
    const end = endOf(await runOrder(world.assignment, world.ports));
    expect(end).toMatchObject({
      kind: "report",
      succeeded: false,
      exitCode,
      reason: code,
      outputDigest: undefined,
    });
    expect(openOrderReport(end.statement).report.exit).toEqual({ code: exitCode, reason: code });
    expect(fromUtf8(end.statement.map((byte) => byte & 0x7f))).not.toContain("secret");
  });

  test("because the key-release group refuses is reported as LOADER_KEY_REFUSED", async () => {
    const world = await createWorld(objects, { ports: { release: refusingRelease("RELEASE_ORDER_CLOSED") } });
    const end = endOf(await runOrder(world.assignment, world.ports));
    expect(end).toMatchObject({ kind: "report", reason: "LOADER_KEY_REFUSED", exitCode: 221 });
  });

  test("because the opened engine is not the offered one is reported as LOADER_CONTENT_DIGEST_MISMATCH", async () => {
    const world = await createWorld([
      { ...objects[0], consent: { engines: [otherDigest] } },
      { ...objects[1], consent: { engines: [otherDigest] } },
    ]);
    // The owner sealed one engine and offered another: every digest of the sealed file is right.
    changeOffer(world, 0, { contentDigest: otherDigest });
    const end = endOf(await runOrder(world.assignment, world.ports));
    expect(end).toMatchObject({ kind: "report", reason: "LOADER_CONTENT_DIGEST_MISMATCH", exitCode: 220 });
    expect(world.keyRequests).toHaveLength(1);
  });

  test.each([
    ["another payload", (sealed: Uint8Array) => invertLast(sealed)],
    ["a cut payload", (sealed: Uint8Array) => sealed.subarray(0, -1)],
  ])(
    "because the store gives %s at the second reading is LOADER_OBJECT_UNREADABLE",
    async (_what, change) => {
      const world = await createWorld(objects);
      const { release } = world.ports.release;
      const digest = offerAt(world, 0).sealedDigest;
      const ports = {
        ...world.ports,
        release: {
          release: async (request: Parameters<typeof release>[0]) => {
            tamper(world, digest, change);
            return release(request);
          },
        },
      };
      const end = endOf(await runOrder(world.assignment, ports));
      expect(end).toMatchObject({ kind: "report", reason: "LOADER_OBJECT_UNREADABLE", exitCode: 222 });
    },
  );

  test("because a sandbox let too much through is refused by the loader", async () => {
    const big = [{ name: "big", bytes: new Uint8Array(2 * 1024 * 1024) }];
    const world = await createWorld(objects, { sandbox: { kind: "lax", run: async () => finished(big) } });
    expect(endOf(await runOrder(world.assignment, world.ports)).reason).toBe("ENGINE_OUTPUT_TOO_LARGE");
  });
});

test("what fails around an order is thrown, nothing is signed, and the next try succeeds", async () => {
  const world = await createWorld(objects);
  const unavailable = new CloisterError("SANDBOX_UNAVAILABLE", "The sandbox failed.");
  const sandbox = { kind: "broken", run: () => Promise.reject(unavailable) };
  await expect(runOrder(world.assignment, { ...world.ports, sandbox })).rejects.toBe(unavailable);
  expect([world.statements, [...world.records.keys()]]).toEqual([[], []]);
  expect(world.fileKeys.map(toHex)).toEqual(Array(3).fill("00".repeat(16)));
  expect(endOf(await runOrder(world.assignment, world.ports)).succeeded).toBe(true);
});

test("key-release members that lag behind do not end an order", async () => {
  const world = await createWorld(objects);
  const lagging = { ...world.ports, release: refusingRelease("RELEASE_ORDER_UNKNOWN") };
  await expect(runOrder(world.assignment, lagging)).rejects.toMatchObject({ code: "LOADER_KEY_DELAYED" });
  expect(world.statements).toEqual([]);
  expect(endOf(await runOrder(world.assignment, world.ports)).succeeded).toBe(true);
});

test("an order that could not be run in time ends with a refusal while it can still be settled", async () => {
  const world = await createWorld(objects);
  const lagging = { ...world.ports, release: refusingRelease("RELEASE_TOO_FEW") };
  let run: OrderRun | undefined;
  for (let tries = 0; run === undefined && tries < 1000; tries++) {
    run = await runOrder(world.assignment, lagging).catch(() => undefined);
    world.nowMs += 1000;
  }
  expect(run).toMatchObject({ kind: "ended", end: { kind: "refusal", reason: "LOADER_DEADLINE_TOO_NEAR" } });
  expect(world.nowMs).toBeLessThan(world.chain.order?.deadlineMs ?? 0);
});

test("an order can be given up with a reason, and an order that ended keeps its end", async () => {
  const world = await createWorld(objects);
  const reason = { code: "NODE_OUT_OF_TIME", reason: "The key-release group was out of reach." };
  const end = await refuseOrder(world.assignment, [reason], world.ports);
  expect(end).toMatchObject({ kind: "refusal", reason: "NODE_OUT_OF_TIME" });
  expect(endOf(await runOrder(world.assignment, world.ports))).toEqual(end);
  expect(await endOfOrder(world.ports.records, world.orderId)).toEqual(end);
  expect(await refuseOrder(world.assignment, [{ code: "OTHER", reason: "Other." }], world.ports)).toEqual(
    end,
  );
});

/** Counts the calls that change something outside, and dies at the chosen one, before or after it. */
class Killer {
  calls = 0;
  readonly #at: number;
  readonly #after: boolean;

  constructor(at: number, after: boolean) {
    this.#at = at;
    this.#after = after;
  }

  async guard<T>(act: () => Promise<T>): Promise<T> {
    const dies = this.calls++ === this.#at;
    if (dies && !this.#after) throw new Error("killed");
    const result = await act();
    if (dies) throw new Error("killed");
    return result;
  }
}

function killable(world: World, killer: Killer): World["ports"] {
  const { ports } = world;
  const records = recordsOver(world.records);
  return {
    ...ports,
    records: { ...records, write: (name, record) => killer.guard(() => records.write(name, record)) },
    store: {
      ...ports.store,
      put: (object) => killer.guard(() => ports.store.put(object)),
      delete: (digest) => killer.guard(() => ports.store.delete(digest)),
    },
    statements: { append: (statement) => killer.guard(() => ports.statements.append(statement)) },
    release: { release: (request) => killer.guard(() => ports.release.release(request)) },
  };
}

test("killed at any moment and started again, an order has one statement and one result", async () => {
  let survived = 0;
  for (let at = 0; ; at++) {
    const outcomes = await Promise.all([false, true].map((after) => killAndRestart(at, after)));
    survived += outcomes.filter((outcome) => outcome === "killed").length;
    if (outcomes.every((outcome) => outcome === "finished")) break;
  }
  // Three keys, the upload's record and the upload, the end's record, the log, the receipt's record.
  expect(survived).toBe(16);
});

async function killAndRestart(at: number, after: boolean): Promise<"killed" | "finished"> {
  const world = await createWorld(objects);
  const before = world.objects.size;
  const first = await runOrder(world.assignment, killable(world, new Killer(at, after))).catch(
    () => undefined,
  );
  const seen = world.statements.map(toHex);
  const again = endOf(await runOrder(world.assignment, world.ports));
  expect(again.succeeded).toBe(true);
  expect(world.statements.map(toHex)).toEqual([toHex(again.statement)]);
  if (seen.length > 0) expect(seen).toEqual([toHex(again.statement)]);
  expect(world.objects.size).toBe(before + 1);
  await world.result(again.outputDigest ?? otherDigest);
  const silent = { append: () => Promise.reject(new Error("The statement is in the log already.")) };
  expect(endOf(await runOrder(world.assignment, { ...world.ports, statements: silent }))).toEqual(again);
  return first === undefined ? "killed" : "finished";
}

test("an object sealed to nobody's group cannot be opened and is reported", async () => {
  const world = await createWorld(objects);
  const stranger = "age1gde3ncmahlqd9gg50tanl99r960llztrhfapnmx853s4tjum03uqfssgdh";
  const sealing = seal([utf8("x")], [parseRecipient(stranger)], world.ports.entropy);
  await world.ports.store.put(sealing);
  const { sealedDigest, headerDigest } = sealing.digests();
  changeOffer(world, 1, { sealedDigest, headerDigest });
  const refusing = { ...world.ports, release: refusingRelease("RELEASE_NOT_SEALED_TO_GROUP") };
  expect(endOf(await runOrder(world.assignment, refusing)).reason).toBe("LOADER_KEY_REFUSED");
});
