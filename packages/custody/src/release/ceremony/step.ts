import {
  CloisterError,
  decodeCanonical,
  digestOf,
  encodeCanonical,
  equalBytes,
  type Digest,
  type Entropy,
} from "@cloister/core";
import { decodeScalar, encodeScalar, lagrangeAtZero, Point, scalarField, scalarFromWide } from "../curve.ts";
import { createGroupKey } from "../group.ts";
import type { GroupKey, GroupMember, GroupShare } from "../types.ts";
import { readBallot, writeBallot, type Ballot } from "./ballot.ts";
import { judgeComplaint, makeComplaint, makeDeal, openShare, readDeal, type Deal } from "./deal.ts";
import { isSignedBy, readEnvelope, writeEnvelope, type Envelope, type MessageKind } from "./envelope.ts";
import { ceremonyId, checkPlan, dealersOf, type CeremonyPlan, type Fault } from "./plan.ts";

/**
 * One participant's view of a ceremony. It holds signed messages and no secret, so it may be stored as it is;
 * what it was at a crash, `restoreCeremony` is again from the same messages.
 */
export interface Ceremony {
  readonly plan: CeremonyPlan;
  readonly id: Digest;
  readonly self: string;
  /** Encoded envelopes, by kind and sender. */
  readonly messages: ReadonlyMap<string, Uint8Array>;
  /** Proven by messages that are not kept twice. */
  readonly equivocated: readonly string[];
  readonly outcome: Outcome;
}

export type Outcome =
  | { readonly kind: "open" }
  /** The share is not in the state; `shareOf` computes it from the messages and the wrapping secret. */
  | { readonly kind: "done"; readonly group: GroupKey }
  | { readonly kind: "failed"; readonly faults: readonly [Fault, ...Fault[]] };

/** What a participant needs to act. Held by the runtime, never stored with the ceremony. */
export interface CeremonyKeys {
  readonly sign: (message: Uint8Array) => Uint8Array;
  readonly wrapSecret: Uint8Array;
  /** The dealer's share of the previous group, in a resharing. */
  readonly previousShare?: GroupShare;
}

export type CeremonyInput =
  | { readonly kind: "start" }
  | { readonly kind: "message"; readonly bytes: Uint8Array }
  /** The phase's deadline passed: vote on what has come, or name who is silent. */
  | { readonly kind: "timeout" }
  /** Send everything held again, for those who were away. */
  | { readonly kind: "resend" };

/**
 * In this order: `persist` must be durable before any `broadcast` that follows it, or a restart could deal twice,
 * which others would take for equivocation.
 */
export type CeremonyEffect =
  | { readonly kind: "persist" }
  /** To every dealer and member but oneself. */
  | { readonly kind: "broadcast"; readonly bytes: Uint8Array }
  | { readonly kind: "reject"; readonly reason: string }
  | { readonly kind: "done"; readonly group: GroupKey }
  | { readonly kind: "failed"; readonly faults: readonly [Fault, ...Fault[]] };

export interface CeremonyStep {
  readonly state: Ceremony;
  readonly effects: readonly CeremonyEffect[];
}

/**
 * Opens a ceremony for one participant.
 * @throws {CloisterError} with the code of what `checkPlan` refuses
 */
export function createCeremony(plan: CeremonyPlan, self: string): Ceremony {
  const checked = checkPlan(plan);
  if (!checked.ok) throw CloisterError.fromRefusals(checked.refusals);
  return {
    plan,
    id: ceremonyId(plan),
    self,
    messages: new Map(),
    equivocated: [],
    outcome: { kind: "open" },
  };
}

/**
 * Advances a ceremony: generation of a new key among the members, or resharing of an existing one.
 * Deal, vote, conclude: a ceremony is done only when all members vote that they hold the same deals and that
 * their shares are right, so that an attempt either gives everyone a share or names who is at fault;
 * `planWithout` then makes the next attempt. Never throws on what a peer sent. spec/key-release.md §3
 */
export function stepCeremony(
  state: Ceremony,
  input: CeremonyInput,
  keys: CeremonyKeys,
  entropy: Entropy,
): CeremonyStep {
  switch (input.kind) {
    case "start":
      return advance(deal(state, keys, entropy), keys, entropy, false);
    case "message": {
      const received = receive(state, input.bytes);
      return received.effects.some((effect) => effect.kind === "reject")
        ? received
        : advance(received, keys, entropy, false);
    }
    case "timeout":
      return advance({ state, effects: [] }, keys, entropy, true);
    case "resend":
      return {
        state,
        effects: [...state.messages.values()].map((bytes) => ({ kind: "broadcast", bytes })),
      };
  }
}

/**
 * The share that a finished ceremony gave this participant.
 * @throws {CloisterError} `CEREMONY_NOT_DONE`
 */
export function shareOf(state: Ceremony, wrapSecret: Uint8Array): GroupShare {
  const { outcome, plan, self } = state;
  const member = memberOf(plan, self);
  if (outcome.kind !== "done" || member === undefined)
    throw new CloisterError("CEREMONY_NOT_DONE", "The ceremony has not given this participant a share.");
  const weights = dealerWeights(plan);
  const secret = dealersOf(plan).reduce((sum, dealer) => {
    const share = openShare(plan, state.id, dealer.id, dealOf(state, dealer.id) as Deal, member, wrapSecret);
    return scalarField.add(sum, scalarField.mul(share as bigint, weights.get(dealer.index) as bigint));
  }, 0n);
  const { groupId, epoch } = outcome.group;
  return { groupId, epoch, index: member.index, secret: encodeScalar(secret) };
}

/** Encodes the messages of a ceremony for the disk; the plan is kept by whoever made it. */
export function encodeCeremony(state: Ceremony): Uint8Array {
  const { id, self, messages, equivocated } = state;
  return encodeCanonical({ id, self, messages: [...messages.values()], equivocated });
}

/**
 * Restores a ceremony from its plan and its messages, as it was when it was encoded.
 * @throws {CloisterError} `CEREMONY_RECORD_MALFORMED`
 */
export function restoreCeremony(plan: CeremonyPlan, record: Uint8Array): Ceremony {
  const malformed = (cause?: unknown) =>
    new CloisterError("CEREMONY_RECORD_MALFORMED", "The record is not one of this ceremony.", { cause });
  let document: Record<string, unknown>;
  try {
    document = decodeCanonical(record) as Record<string, unknown>;
  } catch (cause) {
    throw malformed(cause);
  }
  const { id, self, messages, equivocated } = document;
  if (typeof self !== "string" || !Array.isArray(messages) || !Array.isArray(equivocated)) throw malformed();
  const opened = createCeremony(plan, self);
  if (id !== opened.id) throw malformed();
  const restored = (messages as Uint8Array[]).reduce((state, bytes) => receive(state, bytes).state, opened);
  if (restored.messages.size !== messages.length) throw malformed();
  const state = { ...restored, equivocated: equivocated.map(String) };
  return { ...state, outcome: conclude(state, false) };
}

function deal(state: Ceremony, keys: CeremonyKeys, entropy: Entropy): CeremonyStep {
  const { plan, id, self } = state;
  const isDealer = dealersOf(plan).some((dealer) => dealer.id === self);
  if (!isDealer || state.messages.has(key("deal", self))) return { state, effects: [] };
  const body = makeDeal(plan, id, self, constantOf(plan, keys, entropy), entropy);
  return send(state, "deal", body, keys);
}

function constantOf(plan: CeremonyPlan, keys: CeremonyKeys, entropy: Entropy): bigint {
  if (plan.previous === undefined) return scalarFromWide(entropy(64));
  const { groupId, epoch } = plan.previous.group;
  const share = keys.previousShare;
  const secret = share === undefined ? undefined : decodeScalar(share.secret);
  if (secret === undefined || share?.groupId !== groupId || share.epoch !== epoch)
    throw new CloisterError("CEREMONY_SHARE_LACKING", `A dealer needs its share of epoch ${epoch}.`);
  return secret;
}

function send(state: Ceremony, kind: MessageKind, body: Uint8Array, keys: CeremonyKeys): CeremonyStep {
  const bytes = writeEnvelope(state.id, kind, state.self, body, keys.sign);
  const messages = new Map(state.messages).set(key(kind, state.self), bytes);
  return { state: { ...state, messages }, effects: [{ kind: "persist" }, { kind: "broadcast", bytes }] };
}

function receive(state: Ceremony, bytes: Uint8Array): CeremonyStep {
  // Relayed copies of what is held cost a comparison and no signature.
  if (isHeld(state, bytes)) return { state, effects: [] };
  const envelope = readEnvelope(state.plan, state.id, bytes);
  if (typeof envelope === "string") return { state, effects: [{ kind: "reject", reason: envelope }] };
  const name = key(envelope.kind, envelope.sender);
  const held = heldEnvelope(state, envelope.kind, envelope.sender);
  if (held === undefined) {
    const messages = new Map(state.messages).set(name, bytes);
    // Passed on once: what one honest participant holds, all get, and two different ones meet.
    return { state: { ...state, messages }, effects: [{ kind: "persist" }, { kind: "broadcast", bytes }] };
  }
  if (digestOf(held.body) === digestOf(envelope.body) || state.equivocated.includes(envelope.sender))
    return { state, effects: [] };
  const equivocated = [...state.equivocated, envelope.sender];
  const relay = { kind: "broadcast", bytes } as const;
  return { state: { ...state, equivocated }, effects: [{ kind: "persist" }, relay] };
}

function isHeld(state: Ceremony, bytes: Uint8Array): boolean {
  for (const held of state.messages.values()) if (equalBytes(held, bytes)) return true;
  return false;
}

/** Votes when every deal is there, and concludes when every ballot is; a timeout does not wait for the rest. */
function advance(step: CeremonyStep, keys: CeremonyKeys, entropy: Entropy, isLate: boolean): CeremonyStep {
  let { state } = step;
  const effects = [...step.effects];
  if (state.outcome.kind === "done") return { state, effects };
  const member = memberOf(state.plan, state.self);
  const hasVoted = state.messages.has(key("ballot", state.self));
  const hasAllDeals = dealersOf(state.plan).every((dealer) => state.messages.has(key("deal", dealer.id)));
  if (member !== undefined && !hasVoted && (hasAllDeals || isLate)) {
    const voted = send(state, "ballot", vote(state, member, keys, entropy), keys);
    state = voted.state;
    effects.push(...voted.effects);
    // The ballots of the others have until the next timeout.
    if (isLate) return { state, effects };
  }
  const outcome = conclude(state, isLate);
  if (outcome.kind === "open") return { state, effects };
  const news = isSameOutcome(outcome, state.outcome) ? [] : [{ kind: "persist" } as const, outcome];
  return { state: { ...state, outcome }, effects: [...effects, ...news] };
}

function isSameOutcome(a: Outcome, b: Outcome): boolean {
  if (a.kind !== "failed" || b.kind !== "failed") return a.kind === b.kind;
  return a.faults.length === b.faults.length && a.faults[0].code === b.faults[0].code;
}

function vote(state: Ceremony, member: GroupMember, keys: CeremonyKeys, entropy: Entropy): Uint8Array {
  const { plan, id } = state;
  const held = dealersOf(plan).flatMap((dealer) => heldEnvelope(state, "deal", dealer.id) ?? []);
  const complaints = held.flatMap(({ sender }) => {
    const given = dealOf(state, sender);
    if (given === undefined || typeof given === "string") return [];
    if (openShare(plan, id, sender, given, member, keys.wrapSecret) !== undefined) return [];
    return [makeComplaint(id, sender, given, member, keys.wrapSecret, entropy)];
  });
  const deals = held.map(({ sender, body, signature }) => ({
    dealer: sender,
    digest: digestOf(body),
    signature,
  }));
  return writeBallot({ deals, complaints });
}

function conclude(state: Ceremony, isLate: boolean): Outcome {
  const { plan } = state;
  const dealers = dealersOf(plan);
  const ballots = plan.members.map((member) => ({
    member,
    envelope: heldEnvelope(state, "ballot", member.id),
  }));
  const isComplete =
    ballots.every(({ envelope }) => envelope !== undefined) &&
    dealers.every((dealer) => state.messages.has(key("deal", dealer.id)));
  const faults = [...equivocationFaults(state), ...dealFaults(state, isLate)];
  for (const { member, envelope } of ballots) faults.push(...ballotFaults(state, member, envelope, isLate));
  const [first, ...rest] = distinctFaults(faults);
  // Silence is judged only when all is there or the time is up; what is proven is so at once.
  if (first !== undefined && (isLate || isComplete || first.proven))
    return { kind: "failed", faults: [first, ...rest] };
  return isComplete && first === undefined ? { kind: "done", group: combine(state) } : { kind: "open" };
}

function equivocationFaults(state: Ceremony): Fault[] {
  return state.equivocated.map((participant) =>
    fault(participant, "CEREMONY_EQUIVOCATED", "it signed two different messages for the same step", true),
  );
}

function dealFaults(state: Ceremony, isLate: boolean): Fault[] {
  return dealersOf(state.plan).flatMap((dealer) => {
    const given = dealOf(state, dealer.id);
    if (given === undefined)
      return isLate
        ? [fault(dealer.id, "CEREMONY_DEAL_MISSING", "its deal did not come in time", false)]
        : [];
    return typeof given === "string" ? [fault(dealer.id, "CEREMONY_DEAL_INVALID", given, true)] : [];
  });
}

function ballotFaults(
  state: Ceremony,
  member: GroupMember,
  envelope: Envelope | undefined,
  isLate: boolean,
): Fault[] {
  if (envelope === undefined)
    return isLate
      ? [fault(member.id, "CEREMONY_BALLOT_MISSING", "its ballot did not come in time", false)]
      : [];
  const ballot = remembered(readBallots, envelope.body, () => readBallot(envelope.body) ?? "malformed");
  if (ballot === "malformed")
    return [fault(member.id, "CEREMONY_BALLOT_INVALID", "its ballot is malformed", true)];
  return [...seenFaults(state, member, ballot), ...complaintFaults(state, member, ballot)];
}

function seenFaults(state: Ceremony, member: GroupMember, ballot: Ballot): Fault[] {
  const { plan, id } = state;
  return dealersOf(plan).flatMap((dealer) => {
    const seen = ballot.deals.find((entry) => entry.dealer === dealer.id);
    if (seen === undefined) {
      return [
        fault(dealer.id, "CEREMONY_DEAL_MISSING", `its deal did not reach ${member.id} in time`, false),
      ];
    }
    const held = heldEnvelope(state, "deal", dealer.id);
    // A deal that is held as it was seen needs no second look at its signature: there are n² of these.
    if (held !== undefined && digestOfBody(held) === seen.digest) return [];
    if (!isSignedBy(plan, id, "deal", dealer.id, seen.digest, seen.signature))
      return [fault(member.id, "CEREMONY_BALLOT_INVALID", `its ballot forges a deal of ${dealer.id}`, true)];
    if (held === undefined) return [];
    return [fault(dealer.id, "CEREMONY_EQUIVOCATED", "it signed two different deals", true)];
  });
}

function complaintFaults(state: Ceremony, member: GroupMember, ballot: Ballot): Fault[] {
  return ballot.complaints.flatMap((complaint) => {
    const given = dealOf(state, complaint.dealer);
    if (given === undefined) return [];
    const isWrong =
      typeof given !== "string" &&
      judgeComplaint(state.plan, state.id, given, member, complaint) === "dealer";
    if (isWrong)
      return [fault(complaint.dealer, "CEREMONY_SHARE_WRONG", `its share for ${member.id} is wrong`, true)];
    const why = `it complained of a right share of ${complaint.dealer}`;
    return [fault(member.id, "CEREMONY_COMPLAINT_FALSE", why, true)];
  });
}

/** Σ of the deals, each with its dealer's weight: 1 in a generation, Lagrange's coefficient in a resharing. */
function combine(state: Ceremony): GroupKey {
  const { plan } = state;
  const weights = dealerWeights(plan);
  const deals = dealersOf(plan).map((dealer) => ({
    weight: weights.get(dealer.index) as bigint,
    commitments: (dealOf(state, dealer.id) as Deal).commitments,
  }));
  const commitments = Array.from({ length: plan.threshold }, (_, k) =>
    deals.reduce(
      (sum, { weight, commitments: own }) => sum.add((own[k] as Point).multiplyUnsafe(weight)),
      Point.ZERO,
    ),
  );
  return createGroupKey(plan.epoch, plan.members, commitments);
}

function dealerWeights(plan: CeremonyPlan): Map<number, bigint> {
  const indices = dealersOf(plan).map((dealer) => dealer.index);
  return plan.previous === undefined ? new Map(indices.map((index) => [index, 1n])) : lagrangeAtZero(indices);
}

/**
 * Messages are read and checked once: the signature of each names its ceremony, so the same bytes mean the same.
 * Only results are remembered, and only as long as the bytes are held.
 */
const envelopes = new WeakMap<Uint8Array, Envelope>();
const bodyDigests = new WeakMap<Uint8Array, Digest>();
const readDeals = new WeakMap<Uint8Array, Deal | string>();
const readBallots = new WeakMap<Uint8Array, Ballot | "malformed">();

function remembered<T>(memory: WeakMap<Uint8Array, T>, bytes: Uint8Array, compute: () => T): T {
  const known = memory.get(bytes);
  if (known !== undefined) return known;
  const value = compute();
  memory.set(bytes, value);
  return value;
}

function dealOf(state: Ceremony, dealer: string): Deal | string | undefined {
  const envelope = heldEnvelope(state, "deal", dealer);
  if (envelope === undefined) return undefined;
  return remembered(readDeals, envelope.body, () => tryReadDeal(state, dealer, envelope.body));
}

function digestOfBody({ body }: Envelope): Digest {
  return remembered(bodyDigests, body, () => digestOf(body));
}

function tryReadDeal(state: Ceremony, dealer: string, body: Uint8Array): Deal | string {
  try {
    return readDeal(state.plan, state.id, dealer, body);
  } catch {
    return "it is not a canonical document";
  }
}

function heldEnvelope(state: Ceremony, kind: MessageKind, sender: string): Envelope | undefined {
  const bytes = state.messages.get(key(kind, sender));
  if (bytes === undefined) return undefined;
  return remembered(envelopes, bytes, () => {
    const [, , body, signature] = decodeCanonical(bytes) as [string, string, Uint8Array, Uint8Array];
    return { kind, sender, body, signature };
  });
}

function memberOf(plan: CeremonyPlan, id: string): GroupMember | undefined {
  return plan.members.find((member) => member.id === id);
}

function key(kind: MessageKind, sender: string): string {
  return `${kind}/${sender}`;
}

function fault(participant: string, code: Fault["code"], why: string, proven: boolean): Fault {
  return { participant, code, reason: `${participant} is at fault: ${why}.`, proven };
}

function distinctFaults(faults: readonly Fault[]): Fault[] {
  const byKind = new Map(faults.map((each) => [`${each.participant} ${each.code}`, each]));
  return [...byKind.values()].toSorted((a, b) => Number(b.proven) - Number(a.proven));
}
