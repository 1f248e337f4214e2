import {
  assertInvariant,
  CloisterError,
  digestBytes,
  digestOf,
  encodeCanonical,
  equalBytes,
  openSign1,
  sha256,
  signSign1,
  toHex,
  verifySign1,
  type Entropy,
} from "@cloister/core";
import { Shape } from "../shape.ts";
import {
  evaluate,
  evaluateCommitment,
  Fn,
  knows,
  lagrange,
  Point,
  proveKnowledge,
  randomScalar,
  readPoint,
  readScalar,
  type GroupPoint,
} from "./field.ts";
import {
  groupKeyDigest,
  publicKeyOf,
  scalarBytes,
  verifyingShare,
  type GroupKey,
  type KeyShare,
} from "./keys.ts";

/** One CVM in a ceremony, by its certified identity key. */
export interface CeremonyMember {
  readonly index: number;
  /** Ed25519, 32 bytes. */
  readonly identity: Uint8Array;
}

/**
 * What a ceremony is to achieve; all who take part must hold the same plan. Without `previous`, a new key
 * is generated and the members are the dealers. With it, `dealers` (at least its threshold, with their old
 * indexes) hand the same key on to `members` (with their new ones).
 */
export interface CeremonyPlan {
  /** Makes two ceremonies of the same members different. */
  readonly nonce: Uint8Array;
  readonly threshold: number;
  readonly members: readonly CeremonyMember[];
  readonly previous?: { readonly group: GroupKey; readonly dealers: readonly CeremonyMember[] } | undefined;
}

/** What a ceremony is over with: a share, nothing (for a dealer that leaves), or who broke it. */
export type CeremonyOutcome =
  | { readonly kind: "done"; readonly group: GroupKey; readonly share: KeyShare | undefined }
  | { readonly kind: "failed"; readonly culprits: readonly Culprit[] };

/** Why a ceremony failed, and by whom. Plan the next one without them. */
export interface Culprit {
  /** Lower-case hex of the identity key. */
  readonly identity: string;
  readonly code:
    | "CEREMONY_ABSENT"
    | "CEREMONY_EQUIVOCATED"
    | "CEREMONY_DEAL_INVALID"
    | "CEREMONY_SHARE_INVALID"
    | "CEREMONY_COMPLAINT_FALSE"
    | "CEREMONY_ECHO_INVALID"
    | "CEREMONY_RESULT_DIFFERS";
}

/** A message to send: to everybody, or to one participant over an attested channel. */
export interface CeremonyMessage {
  /** Identity key of the one receiver; absent: everybody who takes part. */
  readonly to?: Uint8Array;
  readonly bytes: Uint8Array;
}

const MESSAGE_TYPE = "application/vnd.cloister.key-ceremony+cbor";
const MESSAGE_BYTES_MAX = 65_536;
const MEMBERS_MAX = 31;
const KINDS = /^(deal|echo|share|complaint|done)$/;
const shape = new Shape("CEREMONY_MESSAGE_MALFORMED", "ceremony's message");

interface Message {
  readonly from: Uint8Array;
  readonly kind: string;
  readonly body: Record<string, unknown>;
}

interface Deal {
  readonly bytes: Uint8Array;
  readonly commitment: readonly GroupPoint[];
}

/**
 * One participant's side of a key ceremony: distributed key generation, or resharing to other members
 * without changing the key. Pure: give it what arrives, send what it asks for, look at the outcome.
 *
 * Dealers publish commitments; members echo all they got, so that a dealer who told two stories is seen
 * before any secret flows; dealers send shares, one to each member; members check them against the
 * commitments and publish the signed share when one is wrong, so that everybody can see whose fault it was;
 * members publish the digest of the result. Every message is signed by the sender's identity, so blame is
 * provable, but for silence, which everybody must judge by their own clock. spec/certificates.md §7
 */
export class KeyCeremony {
  readonly #plan: CeremonyPlan;
  readonly #session: Uint8Array;
  readonly #identity: Uint8Array;
  readonly #sign: (message: Uint8Array) => Uint8Array;
  readonly #dealers: readonly CeremonyMember[];
  readonly #polynomial: readonly bigint[] | undefined;
  readonly #deals = new Map<string, Deal>();
  readonly #early = new Map<string, Uint8Array>();
  readonly #echoed = new Set<string>();
  readonly #shares = new Map<string, bigint>();
  readonly #results = new Map<string, Uint8Array>();
  readonly #culprits = new Map<string, Culprit>();
  readonly #sent = new Set<string>();
  #outbox: CeremonyMessage[] = [];
  #group: GroupKey | undefined;
  #done: { group: GroupKey; share: KeyShare | undefined } | undefined;

  /** @throws {CloisterError} `CEREMONY_PLAN_INVALID` */
  constructor(
    plan: CeremonyPlan,
    self: {
      readonly identity: Uint8Array;
      readonly sign: (message: Uint8Array) => Uint8Array;
      /** The old share, for a dealer of a resharing. */
      readonly share?: KeyShare | undefined;
    },
    entropy: Entropy,
  ) {
    checkPlan(plan);
    this.#plan = plan;
    this.#session = sessionOf(plan);
    this.#identity = self.identity;
    this.#sign = self.sign;
    this.#dealers = plan.previous?.dealers ?? plan.members;
    const dealer = this.#dealers.find(({ identity }) => equalBytes(identity, self.identity));
    if (dealer === undefined) return;
    this.#polynomial = this.#draw(dealer, self.share, entropy);
    const commitment = this.#polynomial.map((coefficient) => Point.BASE.multiply(coefficient).toBytes());
    const context = [this.#session, self.identity];
    const proof = proveKnowledge(this.#polynomial[0] as bigint, context, entropy);
    this.#broadcast("deal", { commitment, proof });
  }

  /** Takes the messages that are to be sent. They may be sent more than once. */
  takeOutbox(): CeremonyMessage[] {
    const outbox = this.#outbox;
    this.#outbox = [];
    return outbox;
  }

  /** Undefined while the ceremony goes on. */
  get outcome(): CeremonyOutcome | undefined {
    if (this.#culprits.size > 0) return { kind: "failed", culprits: [...this.#culprits.values()] };
    const confirmed = this.#plan.members.every(({ identity }) => this.#results.has(toHex(identity)));
    return this.#done === undefined || !confirmed ? undefined : { kind: "done", ...this.#done };
  }

  /**
   * Takes in a message. Repeated and reordered messages change nothing.
   * @throws {CloisterError} `CEREMONY_MESSAGE_MALFORMED` for what no participant of this ceremony signed; drop it
   */
  receive(bytes: Uint8Array): void {
    const message = this.#open(bytes);
    if (this.outcome !== undefined) return;
    this.#take(message, bytes);
    this.#advance();
  }

  /** Ends a ceremony that did not come to its end in time, and names whom it waited for. */
  expire(): CeremonyOutcome {
    if (this.outcome !== undefined) return this.outcome;
    const missing = this.#missing();
    for (const identity of missing) this.#blame(identity, "CEREMONY_ABSENT");
    return { kind: "failed", culprits: [...this.#culprits.values()] };
  }

  #missing(): Uint8Array[] {
    const without = (people: readonly CeremonyMember[], seen: { has(name: string): boolean }): Uint8Array[] =>
      people.map(({ identity }) => identity).filter((identity) => !seen.has(toHex(identity)));
    const deals = without(this.#dealers, this.#deals);
    if (deals.length > 0) return deals;
    const echoes = without(this.#plan.members, this.#echoed);
    if (echoes.length > 0) return echoes;
    const shares = this.#own === undefined ? [] : without(this.#dealers, this.#shares);
    return shares.length > 0 ? shares : without(this.#plan.members, this.#results);
  }

  get #own(): CeremonyMember | undefined {
    return this.#plan.members.find(({ identity }) => equalBytes(identity, this.#identity));
  }

  /** A polynomial whose value at zero is a fresh secret, or this dealer's part of the old one. */
  #draw(dealer: CeremonyMember, share: KeyShare | undefined, entropy: Entropy): bigint[] {
    const rest = Array.from({ length: this.#plan.threshold - 1 }, () => randomScalar(entropy));
    if (this.#plan.previous === undefined) return [randomScalar(entropy), ...rest];
    if (share?.index !== dealer.index) throw planInvalid("a dealer has no share to hand on");
    const weight = lagrange(
      this.#dealers.map(({ index }) => index),
      dealer.index,
    );
    return [Fn.mul(weight, readScalar(share.secret)), ...rest];
  }

  #take(message: Message, bytes: Uint8Array): void {
    const { from, kind, body } = message;
    if (kind === "deal") this.#takeDeal(from, bytes, body);
    if (kind === "echo") this.#takeEcho(from, bytes, body);
    if (kind === "share") this.#takeShare(from, bytes, body);
    if (kind === "complaint") this.#takeComplaint(from, bytes, body);
    if (kind === "done") this.#takeResult(from, body);
  }

  #takeDeal(from: Uint8Array, bytes: Uint8Array, body: Record<string, unknown>): void {
    const known = this.#deals.get(toHex(from));
    if (known !== undefined) {
      if (!equalBytes(known.bytes, bytes)) this.#blame(from, "CEREMONY_EQUIVOCATED", [known.bytes, bytes]);
      return;
    }
    const dealer = this.#dealers.find(({ identity }) => equalBytes(identity, from));
    if (dealer === undefined) return;
    const commitment = this.#readCommitment(from, body);
    if (commitment === undefined || !this.#handsOnItsShare(dealer, commitment)) {
      return this.#blame(from, "CEREMONY_DEAL_INVALID", [bytes]);
    }
    this.#deals.set(toHex(from), { bytes, commitment });
    const early = this.#early.get(toHex(from));
    if (early !== undefined) this.#takeShare(from, early, this.#open(early).body);
  }

  #readCommitment(from: Uint8Array, body: Record<string, unknown>): GroupPoint[] | undefined {
    try {
      const deal = shape.record(body, "body", ["commitment", "proof"]);
      const points = shape.list(deal.commitment, "body.commitment", MEMBERS_MAX, (item, path) =>
        readPoint(shape.fixed(item, path, 32)),
      );
      const proof = shape.fixed(deal.proof, "body.proof", 64);
      const [first] = points;
      const whole = points.length === this.#plan.threshold && first !== undefined;
      return whole && knows(first, [this.#session, from], proof) ? points : undefined;
    } catch {
      return undefined;
    }
  }

  /** In a resharing, a dealer's secret must be its weighted old share, or the key would change. */
  #handsOnItsShare(dealer: CeremonyMember, commitment: readonly GroupPoint[]): boolean {
    const { previous } = this.#plan;
    if (previous === undefined) return true;
    const weight = lagrange(
      this.#dealers.map(({ index }) => index),
      dealer.index,
    );
    const expected = verifyingShare(previous.group, dealer.index).multiplyUnsafe(weight);
    return (commitment[0] as GroupPoint).equals(expected);
  }

  #takeEcho(from: Uint8Array, bytes: Uint8Array, body: Record<string, unknown>): void {
    if (!this.#isMember(from)) return;
    const deals = Array.isArray(body["deals"]) ? (body["deals"] as unknown[]) : [];
    if (deals.length !== this.#dealers.length) return this.#blame(from, "CEREMONY_ECHO_INVALID", [bytes]);
    for (const [i, { identity }] of this.#dealers.entries()) {
      const deal = deals[i];
      const known = this.#deals.get(toHex(identity))?.bytes;
      if (!(deal instanceof Uint8Array)) return this.#blame(from, "CEREMONY_ECHO_INVALID", [bytes]);
      if (known !== undefined && equalBytes(known, deal)) continue;
      const message = this.#tryOpen(deal);
      if (message?.kind !== "deal" || !equalBytes(message.from, identity)) {
        return this.#blame(from, "CEREMONY_ECHO_INVALID", [bytes]);
      }
      this.#takeDeal(identity, deal, message.body);
    }
    this.#echoed.add(toHex(from));
  }

  #takeShare(from: Uint8Array, bytes: Uint8Array, body: Record<string, unknown>): void {
    const own = this.#own;
    if (own === undefined || body["to"] !== own.index || this.#shares.has(toHex(from))) return;
    if (!this.#deals.has(toHex(from))) return void this.#early.set(toHex(from), bytes);
    const scalar = this.#judgeShare(from, bytes, body);
    if (scalar !== undefined) this.#shares.set(toHex(from), scalar);
  }

  /** The share's scalar when it lies on its dealer's polynomial; else the dealer is to blame, and the share shows it. */
  #judgeShare(from: Uint8Array, bytes: Uint8Array, body: Record<string, unknown>): bigint | undefined {
    const deal = this.#deals.get(toHex(from));
    const receiver = this.#plan.members.find(({ index }) => index === body["to"]);
    if (deal === undefined) return undefined;
    const scalar = receiver === undefined ? undefined : shareFits(deal, receiver.index, body["share"]);
    if (scalar === undefined) this.#blame(from, "CEREMONY_SHARE_INVALID", [deal.bytes, bytes]);
    return scalar;
  }

  /**
   * A complaint shows signed messages that prove a fault by themselves. Whoever sees them finds the same
   * fault, or none: then the complaint is the fault.
   */
  #takeComplaint(from: Uint8Array, bytes: Uint8Array, body: Record<string, unknown>): void {
    const exhibits = Array.isArray(body["exhibits"]) ? (body["exhibits"] as unknown[]).slice(0, 2) : [];
    for (const exhibit of exhibits) {
      const message = exhibit instanceof Uint8Array ? this.#tryOpen(exhibit) : undefined;
      if (message === undefined || message.kind === "done") continue;
      if (message.kind === "share") this.#judgeShare(message.from, exhibit as Uint8Array, message.body);
      else this.#take(message, exhibit as Uint8Array);
    }
    if (this.#culprits.size === 0) this.#blame(from, "CEREMONY_COMPLAINT_FALSE", [bytes]);
  }

  #takeResult(from: Uint8Array, body: Record<string, unknown>): void {
    const digest = body["digest"];
    if (!this.#isMember(from) || !(digest instanceof Uint8Array)) return;
    this.#results.set(toHex(from), digest);
  }

  #advance(): void {
    if (this.#culprits.size > 0 || this.#deals.size < this.#dealers.length) return;
    const deals = this.#dealers.map(({ identity }) => this.#deals.get(toHex(identity)) as Deal);
    if (this.#own !== undefined) this.#once("echo", () => ({ deals: deals.map(({ bytes }) => bytes) }));
    if (this.#echoed.size < this.#plan.members.length) return;
    this.#sendShares();
    this.#group ??= this.#groupOf(deals);
    const group = this.#group;
    if (this.#own === undefined) this.#done = { group, share: undefined };
    else if (this.#done === undefined && this.#shares.size === this.#dealers.length) {
      this.#finish(group, this.#own);
    }
    this.#judgeResults(group);
  }

  #sendShares(): void {
    const polynomial = this.#polynomial;
    if (polynomial === undefined || this.#sent.has("share")) return;
    this.#sent.add("share");
    for (const { index, identity } of this.#plan.members) {
      const bytes = this.#message("share", { to: index, share: scalarBytes(evaluate(polynomial, index)) });
      if (equalBytes(identity, this.#identity)) this.#takeShare(identity, bytes, this.#open(bytes).body);
      else this.#outbox.push({ to: identity, bytes });
    }
  }

  #groupOf(deals: readonly Deal[]): GroupKey {
    const { threshold, members, previous } = this.#plan;
    const commitment = Array.from({ length: threshold }, (_, k) =>
      deals.reduce((sum, deal) => sum.add(deal.commitment[k] as GroupPoint), Point.ZERO).toBytes(),
    );
    const group = { threshold, size: members.length, commitment };
    const same = previous === undefined || equalBytes(publicKeyOf(group), publicKeyOf(previous.group));
    assertInvariant(same, "resharing keeps the key, for every deal was held to its old share");
    return group;
  }

  #finish(group: GroupKey, own: CeremonyMember): void {
    const secret = [...this.#shares.values()].reduce((sum, share) => Fn.add(sum, share), 0n);
    this.#done = { group, share: { index: own.index, secret: scalarBytes(secret), group } };
    this.#once("done", () => ({ digest: digestBytes(groupKeyDigest(group)) }));
  }

  #judgeResults(group: GroupKey): void {
    const expected = digestBytes(groupKeyDigest(group));
    for (const { identity } of this.#plan.members) {
      const result = this.#results.get(toHex(identity));
      if (result !== undefined && !equalBytes(result, expected))
        this.#blame(identity, "CEREMONY_RESULT_DIFFERS");
    }
  }

  #once(kind: string, body: () => Record<string, unknown>): void {
    if (this.#sent.has(kind)) return;
    this.#sent.add(kind);
    this.#broadcast(kind, body());
  }

  /** Sends to everybody, itself included, so that its own part is judged as everybody else's. */
  #broadcast(kind: string, body: Record<string, unknown>): void {
    const bytes = this.#message(kind, body);
    this.#outbox.push({ bytes });
    this.receive(bytes);
  }

  #message(kind: string, body: Record<string, unknown>): Uint8Array {
    const payload = encodeCanonical({ session: this.#session, kind, body });
    const kid = sha256(this.#identity);
    return signSign1({ contentType: MESSAGE_TYPE, kid, payload, sign: this.#sign });
  }

  #tryOpen(bytes: Uint8Array): Message | undefined {
    try {
      return this.#open(bytes);
    } catch {
      return undefined;
    }
  }

  #open(bytes: Uint8Array): Message {
    return openMessage(bytes, this.#session, [...this.#dealers, ...this.#plan.members]);
  }

  #isMember(identity: Uint8Array): boolean {
    return this.#plan.members.some((member) => equalBytes(member.identity, identity));
  }

  /** The first fault ends the ceremony; its exhibits go to everybody, so that all name the same one. */
  #blame(identity: Uint8Array, code: Culprit["code"], exhibits: readonly Uint8Array[] = []): void {
    const first = this.#culprits.size === 0;
    this.#culprits.set(toHex(identity), { identity: toHex(identity), code });
    if (first && exhibits.length > 0) this.#outbox.push({ bytes: this.#message("complaint", { exhibits }) });
  }
}

function openMessage(
  bytes: Uint8Array,
  session: Uint8Array,
  participants: readonly CeremonyMember[],
): Message {
  if (bytes.length > MESSAGE_BYTES_MAX) throw shape.wrong("", "it is too long");
  const statement = openStatement(bytes);
  const from = participants.find(({ identity }) => equalBytes(sha256(identity), statement.kid))?.identity;
  if (from === undefined) throw shape.wrong("", "its signer does not take part");
  shape.check(verifySign1(statement, from, MESSAGE_TYPE), "", "its signature is invalid");
  const payload = shape.record(shape.decode(statement.payload, MESSAGE_BYTES_MAX), "", [
    "session",
    "kind",
    "body",
  ]);
  const same = equalBytes(shape.fixed(payload.session, "session", 32), session);
  shape.check(same, "session", "it belongs to another ceremony");
  const names = Object.keys(payload.body as object);
  return {
    from,
    kind: shape.text(payload.kind, "kind", 10, KINDS),
    body: shape.record(payload.body, "body", names),
  };
}

function openStatement(bytes: Uint8Array) {
  try {
    return openSign1(bytes);
  } catch (cause) {
    throw shape.wrong("", "it is not a signed statement", cause);
  }
}

/** The share's scalar if it lies on the dealer's polynomial at this index. */
function shareFits(deal: Deal, index: number, share: unknown): bigint | undefined {
  if (!(share instanceof Uint8Array) || share.length !== 32) return undefined;
  try {
    const scalar = readScalar(share);
    const fits = Point.BASE.multiply(scalar).equals(evaluateCommitment(deal.commitment, index));
    return fits ? scalar : undefined;
  } catch {
    return undefined;
  }
}

function sessionOf(plan: CeremonyPlan): Uint8Array {
  const people = (members: readonly CeremonyMember[]) =>
    members.map(({ index, identity }) => ({ index, identity }));
  const previous =
    plan.previous === undefined
      ? null
      : { group: { ...plan.previous.group }, dealers: people(plan.previous.dealers) };
  const { nonce, threshold } = plan;
  return digestBytes(
    digestOf(encodeCanonical({ nonce, threshold, members: people(plan.members), previous })),
  );
}

function checkPlan({ nonce, threshold, members, previous }: CeremonyPlan): void {
  if (nonce.length !== 32) throw planInvalid("its nonce does not have 32 bytes");
  if (
    members.length > MEMBERS_MAX ||
    !Number.isInteger(threshold) ||
    threshold < 2 ||
    threshold > members.length
  ) {
    throw planInvalid("its threshold is not from 2 to the number of members");
  }
  if (!members.every(({ index }, i) => index === i + 1))
    throw planInvalid("its members are not numbered from 1 on");
  const all = previous === undefined ? [members] : [members, previous.dealers];
  for (const people of all) {
    const [indexes, identities] = [
      people.map(({ index }) => index),
      people.map(({ identity }) => toHex(identity)),
    ];
    const distinct = new Set(indexes).size === people.length && new Set(identities).size === people.length;
    if (!distinct) throw planInvalid("somebody takes part twice");
  }
  if (previous === undefined) return;
  const known = previous.dealers.every(
    ({ index }) => Number.isInteger(index) && index >= 1 && index <= previous.group.size,
  );
  if (!known || previous.dealers.length < previous.group.threshold) {
    throw planInvalid("its dealers are too few to hand the key on, or not members of the group");
  }
}

function planInvalid(why: string): CloisterError {
  return new CloisterError("CEREMONY_PLAN_INVALID", `The key ceremony cannot be held: ${why}.`);
}
