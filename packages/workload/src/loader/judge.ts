import { CloisterError, codeOf, digestOf, type Refusal } from "@cloister/core";
import { decodeConsent, judgeConsent, recipientDigest } from "@cloister/custody";
import { decodeArguments, type OrderArguments } from "../arguments.ts";
import type { InputFacts, OrderFacts, Standing } from "./facts.ts";
import { plannedUse } from "./planned-use.ts";
import type { LoaderIdentity, Market, NodeLimits, OfferOnChain } from "./ports.ts";

/** An input that passed every check. */
export interface PlannedInput extends InputFacts {
  readonly offer: OfferOnChain;
  readonly headerBytes: Uint8Array;
  readonly consentBytes: Uint8Array;
}

/** What will run, once every check has passed. */
export interface Plan {
  readonly args: OrderArguments;
  readonly argsBytes: Uint8Array;
  readonly engine: PlannedInput;
  /** Data and models, with the names that the engine finds them under. */
  readonly inputs: readonly (PlannedInput & { readonly name: string })[];
  readonly limits: { readonly memoryBytes: number; readonly runMs: number; readonly outputBytes: number };
}

/** Whom and what the order is judged for. */
export interface Circumstances {
  readonly self: LoaderIdentity;
  readonly limits: NodeLimits;
  readonly market: Market;
}

/**
 * Judges whether this node is the one to run the order now. A refusal here ends nothing: the order is
 * another node's, or nobody's yet. spec/loader.md §2
 */
export function judgeStanding(standing: Standing, self: LoaderIdentity): Refusal[] {
  const { assignment, order, node, nowMs, term, signer } = standing;
  const list = new Refusals();
  list.unless(
    order !== undefined,
    "LOADER_ORDER_UNKNOWN",
    `There is no order ${assignment.orderId} on chain.`,
  );
  list.unless(order?.isOpen !== false, "LOADER_ORDER_CLOSED", "The order is settled or refunded.");
  list.unless(
    order === undefined || nowMs < order.deadlineMs,
    "LOADER_DEADLINE_PASSED",
    "The order's deadline has passed.",
    "Its client can have it refunded.",
  );
  list.unless(
    assignment.node === self.node,
    "LOADER_NOT_ASSIGNED",
    `The order is assigned to ${assignment.node}; this node is ${self.node}.`,
  );
  list.unless(
    assignment.term === term.term,
    "LOADER_TERM_STALE",
    `The assignment is of term ${assignment.term}; the current term is ${term.term}.`,
    "The current leader assigns the order anew.",
  );
  list.unless(
    signer !== undefined && signer === term.leader,
    "LOADER_ASSIGNMENT_FORGED",
    "The assignment is not signed by the leader of the current term.",
  );
  const { notBeforeMs, notAfterMs } = self.certificate;
  list.unless(
    notBeforeMs <= nowMs && nowMs < notAfterMs,
    "LOADER_CERTIFICATE_EXPIRED",
    "This node's certificate is not in force.",
    "The node has itself certified anew.",
  );
  list.unless(
    node?.isActive === true,
    "LOADER_NODE_NOT_ACTIVE",
    "The registry does not list this node as active.",
  );
  list.unless(
    node === undefined || (node.isMeasurementApproved && node.measurement === self.measurement),
    "LOADER_MEASUREMENT_NOT_APPROVED",
    `The measurement ${self.measurement} is not approved for this node.`,
  );
  return list.all;
}

/**
 * Judges an order by what the chain says and the store holds, before anything is opened. Every failed
 * check is listed; a plan is given only when there is none. spec/loader.md §3
 */
export function judgeOrder(
  facts: OrderFacts,
  circumstances: Circumstances,
): { readonly refusals: readonly Refusal[]; readonly plan: Plan | undefined } {
  const list = new Refusals();
  judgeSequence(facts, list);
  list.unless(
    runMsLeft(facts, circumstances.limits) > 0,
    "LOADER_DEADLINE_TOO_NEAR",
    "The order's deadline leaves no time to run and settle it.",
    "Order again with a later deadline.",
  );
  const args = judgeArguments(facts, circumstances.limits, list);
  const sizeBytes = facts.inputs.reduce((sum, { object }) => sum + (object?.sizeBytes ?? 0), 0);
  list.unless(
    sizeBytes <= circumstances.limits.inputBytes,
    "LOADER_INPUTS_TOO_LARGE",
    `The inputs take ${sizeBytes} bytes; this node opens at most ${circumstances.limits.inputBytes}.`,
  );
  const planned = facts.inputs.map((input) => {
    judgeObject(input, list);
    return judgeInputConsent(input, args, facts, circumstances, list);
  });
  const [engine, ...inputs] = planned.filter((input) => input !== undefined);
  const { argsBytes } = facts;
  if (list.all.length > 0 || args === undefined || engine === undefined || argsBytes === undefined) {
    return { refusals: list.all, plan: undefined };
  }
  return { refusals: [], plan: planOf(args, { ...facts, argsBytes }, engine, inputs, circumstances.limits) };
}

/** A run that ends too late to be settled would be lost for all, so it is not given that long. */
function runMsLeft({ order, nowMs }: OrderFacts, limits: NodeLimits): number {
  return order.deadlineMs - limits.settleMs - nowMs;
}

function planOf(
  args: OrderArguments,
  facts: OrderFacts & { readonly argsBytes: Uint8Array },
  engine: PlannedInput,
  inputs: readonly PlannedInput[],
  limits: NodeLimits,
): Plan {
  return {
    args,
    argsBytes: facts.argsBytes,
    engine,
    inputs: inputs.map((input, i) => ({ ...input, name: args.inputs?.[i] ?? `input-${i}` })),
    limits: {
      memoryBytes: args.memoryBytes ?? limits.memoryBytes,
      runMs: Math.min(args.runMs ?? limits.runMs, runMsLeft(facts, limits)),
      outputBytes: args.outputBytesMax,
    },
  };
}

function judgeSequence({ order, inputs }: OrderFacts, list: Refusals): void {
  const [first] = order.offers;
  list.unless(
    first !== undefined && (first.offer === undefined || first.offer.kind === "engine"),
    "LOADER_ENGINE_MISSING",
    "The order's first offer is not an engine.",
  );
  list.unless(
    inputs.slice(1).every(({ offer }) => offer?.kind !== "engine"),
    "LOADER_ENGINE_AMBIGUOUS",
    "The order names more than one engine.",
  );
  for (const { id, offer } of inputs) {
    list.unless(offer !== undefined, "LOADER_OFFER_UNKNOWN", `The offer ${id} is not on chain.`);
  }
}

function judgeArguments(
  { argsBytes, order, inputs }: OrderFacts,
  limits: NodeLimits,
  list: Refusals,
): OrderArguments | undefined {
  const hint = "The client uploads the arguments whose digest the order carries.";
  if (argsBytes === undefined) {
    list.add("LOADER_ARGUMENTS_MISSING", "The store does not hold the order's arguments.", hint);
    return undefined;
  }
  if (digestOf(argsBytes) !== order.argsDigest) {
    list.add("LOADER_ARGUMENTS_DIGEST_MISMATCH", "The arguments in the store are not the order's.", hint);
    return undefined;
  }
  const args = list.attempt("ARGUMENTS_MALFORMED", () => decodeArguments(argsBytes));
  if (args === undefined) return undefined;
  list.unless(
    recipientDigest(args.recipient) === order.recipientDigest,
    "LOADER_RECIPIENT_MISMATCH",
    "The arguments name another recipient than the order.",
  );
  list.unless(
    args.inputs === undefined || args.inputs.length === inputs.length - 1,
    "LOADER_INPUT_NAMES_MISMATCH",
    `The arguments name ${args.inputs?.length} inputs; the order has ${inputs.length - 1}.`,
  );
  const fits = (asked: number | undefined, most: number): boolean => asked === undefined || asked <= most;
  list.unless(
    fits(args.memoryBytes, limits.memoryBytes) &&
      fits(args.runMs, limits.runMs) &&
      fits(args.outputBytesMax, limits.outputBytes),
    "LOADER_LIMITS_EXCEEDED",
    `The order asks for more than this node gives: ${limits.memoryBytes} bytes of memory, ${limits.runMs} ms, ${limits.outputBytes} bytes of output.`,
    "Order smaller limits, or a goal whose nodes give more.",
  );
  return args;
}

function judgeObject({ id, offer, object }: InputFacts, list: Refusals): void {
  if (offer === undefined) return;
  if (object === undefined) {
    list.add(
      "LOADER_OBJECT_MISSING",
      `The store does not hold the sealed object of offer ${id}.`,
      "Its owner uploads it again; any copy will do.",
    );
    return;
  }
  list.unless(
    object.sealedDigest === offer.sealedDigest,
    "LOADER_SEALED_DIGEST_MISMATCH",
    `The sealed object of offer ${id} is ${object.sealedDigest}; the offer names ${offer.sealedDigest}.`,
    "At least one byte was changed after the offer was made.",
  );
  list.unless(
    object.header?.digest === offer.headerDigest,
    "LOADER_HEADER_DIGEST_MISMATCH",
    `The header of the object of offer ${id} is not the one that the offer names.`,
  );
}

function judgeInputConsent(
  input: InputFacts,
  args: OrderArguments | undefined,
  facts: OrderFacts,
  circumstances: Circumstances,
  list: Refusals,
): PlannedInput | undefined {
  const { id, offer, consentBytes, object } = input;
  if (offer === undefined) return undefined;
  if (offer.consentDigest === undefined || consentBytes === undefined) {
    const why = offer.consentDigest === undefined ? "names no consent" : "has a consent that the store lacks";
    list.add("LOADER_CONSENT_MISSING", `The offer ${id} ${why}.`, "Without consent nothing is opened.");
    return undefined;
  }
  if (digestOf(consentBytes) !== offer.consentDigest) {
    list.add(
      "LOADER_CONSENT_DIGEST_MISMATCH",
      `The consent in the store is not the one that offer ${id} names.`,
    );
    return undefined;
  }
  const consent = list.attempt("CONSENT_MALFORMED", () => decodeConsent(consentBytes));
  if (consent === undefined || args === undefined) return undefined;
  const { self, market } = circumstances;
  const planned = plannedUse(facts.order, offer, args, self.node, market);
  // An order without an engine was refused for that already.
  if (planned === undefined) return undefined;
  const seen = { nowMs: facts.nowMs, tee: self.tee, measurement: self.measurement };
  for (const { code, reason, hint } of judgeConsent(consent, { ...planned, ...seen })) {
    list.add(code, `Offer ${id}: ${reason}`, hint);
  }
  return object?.header && { ...input, offer, consentBytes, headerBytes: object.header.bytes };
}

/** Collects failed checks. */
class Refusals {
  readonly all: Refusal[] = [];

  add(code: string, reason: string, hint?: string): void {
    this.all.push(hint === undefined ? { code, reason } : { code, reason, hint });
  }

  unless(holds: boolean, code: string, reason: string, hint?: string): void {
    if (!holds) this.add(code, reason, hint);
  }

  /** Runs a decoder; what it throws with the given code becomes a refusal. */
  attempt<T>(code: string, decode: () => T): T | undefined {
    try {
      return decode();
    } catch (error) {
      if (codeOf(error) !== code || !(error instanceof CloisterError)) throw error;
      this.add(code, error.message, error.hint);
      return undefined;
    }
  }
}
