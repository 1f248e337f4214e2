import {
  combinePartials,
  groupOf,
  judgeRelease,
  makePartial,
  parseHeader,
  headerDigest,
  releaseReportData,
  unwrapPartial,
  wrapPartial,
  type GroupKey,
  type GroupRing,
  type Header,
  type PartialContext,
  type PartialKey,
  type ReleaseFacts,
  type ReleaseRequest,
} from "@cloister/custody";
import { ChallengeBook, encodeLogEntry, type Realm } from "@cloister/certification";
import type { Evidence } from "@cloister/attestation";
import {
  accept,
  CloisterError,
  digestOf,
  encodeCanonical,
  parseAddress,
  parseHex32,
  refuse,
  signSign1,
  sha256,
  type Cbor,
  type Clock,
  type Digest,
  type Entropy,
  type Log,
  type NodeId,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { recoverStatement, type Assignment, type Chain } from "@cloister/market";
import { decodeArguments, plannedUse, readOrder, type KeyRelease, type KeyRequest } from "@cloister/workload";
import { evidenceOf, type Cvm } from "./cvm.ts";
import { signGroupStatement, vouchedGroups } from "./group-statement.ts";
import { keyGoals } from "./key-goals.ts";
import type { Held } from "./key-group-record.ts";
import type { KeyRing } from "./key-ring.ts";
import { MessageFields, refusalsBody } from "./message.ts";
import type { Channel, Peer } from "./ports.ts";
import type { Verifier } from "./verifier.ts";

const RELEASE_TYPE = "application/vnd.cloister.key-release+cbor";
const ASK_MS = 10_000;
const CHALLENGE_MS = 60_000;

export interface KeyReleasePorts {
  readonly cvm: Cvm;
  readonly verifier: Verifier;
  readonly chain: Chain;
  readonly realm: Realm;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly log: Log;
  readonly keys: Pick<KeyRing, "held" | "heldOf">;
  channelTo(id: NodeId): Promise<Channel>;
  /** Puts an entry into the transparency log. */
  record(entry: Uint8Array): Promise<unknown>;
}

/** Who asks, as the channel proved it, or this CVM itself. */
type Asker = Pick<Peer, "id" | "wrap">;

/**
 * One member of the key-release group: answers loaders that ask for a partial key, after judging everything
 * itself, and asks the others when its own loader needs a file key. spec/key-release.md
 */
export class KeyReleaseMember implements KeyRelease {
  readonly #ports: KeyReleasePorts;
  readonly #challenges = new ChallengeBook({ lifetimeMs: CHALLENGE_MS });
  /** Keys that this node holds no share of, as their members last vouched for them. */
  #learnt: readonly GroupKey[] = [];

  constructor(ports: KeyReleasePorts) {
    this.#ports = ports;
  }

  /** This member's signed words about the keys that it holds shares of. */
  statements(): Uint8Array[] {
    const { cvm, realm, keys } = this.#ports;
    return keys.held().map(({ goalId, group }) => signGroupStatement(cvm, realm, goalId, group));
  }

  /** Answers `release.groups`, `release.challenge` and `release`. */
  async answer(peer: Asker, method: string, body: Cbor): Promise<Cbor> {
    const { entropy, clock } = this.#ports;
    if (method === "release.groups") return { statements: this.statements() };
    if (method === "release.challenge") return { nonce: this.#challenges.issue(entropy, clock.nowMs()) };
    const fields = new MessageFields(body);
    const verdict = await this.#judge(peer, fields);
    if (!verdict.ok) {
      this.#ports.log.warn("release-refused", {
        to: peer.id,
        codes: verdict.refusals.map(({ code }) => code),
      });
      return refusalsBody(verdict.refusals);
    }
    return { wrapped: verdict.value };
  }

  async release(request: KeyRequest): Promise<Verdict<Uint8Array>> {
    const header = parseHeader(request.headerBytes);
    const found = await this.#groupFor(header);
    if (!found.ok) return found;
    const group = found.value;
    const context = { orderId: request.orderId, headerDigest: headerDigest(header) };
    const { partials, refusals, failures } = await this.#askAll(group, request, context);
    if (partials.length < group.threshold && refusals.some(({ code }) => PASSING.has(code))) {
      this.#learnt = [];
      throw unreachable("The key's shares are on their way to other members.", refusals[0]);
    }
    if (partials.length < group.threshold && partials.length + failures.length >= group.threshold) {
      throw unreachable("Too few key-release members can be reached.", failures[0]);
    }
    const combined = combinePartials(group, header, context, partials);
    if (combined.ok) return { ok: true, value: combined.value.fileKey };
    const [first, ...rest] = [...refusals, ...combined.refusals];
    return { ok: false, refusals: [first as Refusal, ...rest] };
  }

  async #askAll(group: GroupKey, request: KeyRequest, context: PartialContext): Promise<Answers> {
    const answers: Answers = { partials: [], refusals: [], failures: [] };
    const { wrapSecret } = this.#ports.cvm.keys;
    await Promise.all(
      group.members.map(async ({ id }) => {
        try {
          const answer = await this.#ask(id as NodeId, group, request);
          if (answer.ok) answers.partials.push(unwrapPartial(answer.value, wrapSecret, context));
          else
            answers.refusals.push(
              ...answer.refusals.map((one) => ({ ...one, reason: `${id}: ${one.reason}` })),
            );
        } catch (error) {
          answers.failures.push(error);
        }
      }),
    );
    return answers;
  }

  /** The key that a file is sealed to: one that this node holds a share of, or one that its members vouch for. */
  async #groupFor(header: Header): Promise<Verdict<GroupKey>> {
    const own = this.#ports.keys.held().map(({ group }) => group);
    const known = ringOf([...own, ...this.#learnt]);
    const found = known === undefined ? undefined : groupOf(known, header);
    if (found?.ok === true) return found;
    this.#learnt = await this.#learn();
    const learnt = ringOf([...own, ...this.#learnt]);
    if (learnt !== undefined) return groupOf(learnt, header);
    throw new CloisterError("RELEASE_GROUP_MISSING", "This network has no key-release group yet.");
  }

  async #learn(): Promise<readonly GroupKey[]> {
    const { chain, realm, clock, channelTo, cvm } = this.#ports;
    const { state } = await chain.refresh();
    const goals = new Set(keyGoals(state).map(({ goalId }) => goalId));
    const groups = [...state.groups.values()].filter(({ goalId }) => goals.has(goalId));
    const members = new Set(groups.flatMap(({ members: ids }) => [...ids]));
    members.delete(cvm.keys.settlement);
    const answers = await Promise.allSettled(
      [...members].map(async (id) => {
        const answer = await (await channelTo(id)).request("release.groups", {}, ASK_MS);
        return new MessageFields(answer).byteList("statements");
      }),
    );
    const statements = answers.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
    return vouchedGroups(statements, realm, state, clock.nowMs()).vouched;
  }

  async #ask(member: NodeId, group: GroupKey, request: KeyRequest): Promise<Verdict<Uint8Array>> {
    const { cvm } = this.#ports;
    const own = member === cvm.keys.settlement;
    const call = async (method: string, body: Cbor): Promise<MessageFields> => {
      if (own)
        return new MessageFields(
          await this.answer({ id: cvm.keys.settlement, wrap: cvm.keys.wrap }, method, body),
        );
      const channel = await this.#ports.channelTo(member);
      return new MessageFields(await channel.request(method, body, ASK_MS));
    };
    const nonce = (await call("release.challenge", {})).bytes("nonce", 32);
    const reportData = releaseReportData(request.orderId, nonce, cvm.keys.wrap);
    const { tee, bytes } = await evidenceOf(cvm, reportData);
    const { assignment, offerId, headerBytes, consentBytes, argsBytes } = request;
    const answer = await call("release", {
      ...{ offerId, headerBytes, consentBytes, argsBytes, nonce, tee, evidence: bytes },
      ...{ groupId: group.groupId, epoch: group.epoch },
      assignment: { ...assignment },
    });
    const [first, ...rest] = answer.refusals();
    if (first !== undefined) return { ok: false, refusals: [first, ...rest] };
    return { ok: true, value: answer.bytes("wrapped") };
  }

  async #judge(peer: Asker, fields: MessageFields): Promise<Verdict<Uint8Array>> {
    const { entropy } = this.#ports;
    const held = this.#heldFor(fields);
    if (!held.ok) return held;
    const { group, share } = held.value;
    const assignment = readAssignment(fields.fields("assignment"));
    const request: ReleaseRequest = {
      orderId: assignment.orderId,
      offerId: parseHex32(fields.text("offerId")),
      nonce: fields.bytes("nonce", 32),
      wrapKey: peer.wrap,
      epoch: fields.count("epoch"),
      headerBytes: fields.bytes("headerBytes"),
      consentBytes: fields.bytes("consentBytes"),
    };
    const facts = await this.#facts(peer, request, assignment, fields, group);
    if (!facts.ok) return facts;
    const verdict = judgeRelease(request, facts.value);
    if (!verdict.ok) return verdict;
    const { header, context } = verdict.value;
    const partial = makePartial(group, share, header, context, entropy);
    // Logged before it is given: a release that nobody can see does not happen.
    await this.#ports.record(
      encodeLogEntry({ kind: "key-release", statement: this.#statement(peer, request) }),
    );
    this.#ports.log.info("partial-key-released", {
      to: peer.id,
      order: request.orderId,
      offer: request.offerId,
    });
    return { ok: true, value: wrapPartial(partial, peer.wrap, context, entropy) };
  }

  async #facts(
    peer: Asker,
    request: ReleaseRequest,
    assignment: Assignment & { readonly signature: Uint8Array },
    fields: MessageFields,
    group: GroupKey,
  ): Promise<Verdict<ReleaseFacts>> {
    const { verifier, chain, realm, clock, cvm } = this.#ports;
    const nowMs = clock.nowMs();
    const redeemed = this.#challenges.redeem(request.nonce, nowMs);
    const evidence = { tee: fields.text("tee"), bytes: fields.bytes("evidence") } as Evidence;
    const reportData = releaseReportData(request.orderId, request.nonce, peer.wrap);
    const { refusals, claims } = await verifier.judge(evidence, reportData);
    const { state } = await chain.refresh();
    const order = readOrder(state, request.orderId);
    const offer = order?.offers.find(({ id }) => id === request.offerId)?.offer;
    const args = decodeArguments(fields.bytes("argsBytes"));
    const planned =
      order === undefined || offer === undefined
        ? undefined
        : plannedUse(order, offer, args, peer.id, { chainId: realm.chainId, contract: realm.contract });
    if (order === undefined || offer === undefined || planned === undefined) {
      return refuse(
        "RELEASE_ORDER_UNKNOWN",
        `There is no order ${request.orderId} on such an offer on chain.`,
      );
    }
    if (digestOf(fields.bytes("argsBytes")) !== order.argsDigest) {
      return refuse("RELEASE_ARGUMENTS_OTHER", "The arguments are not the ones that the order names.");
    }
    const signer = recoverStatement(chain.deployment, "Assignment", assignment, assignment.signature);
    const isCurrent =
      signer !== undefined && signer === state.term.leader && assignment.term === state.term.term;
    return {
      ok: true,
      value: {
        nowMs,
        group,
        challenge: redeemed.ok ? { nonce: redeemed.value, expiresAtMs: nowMs + CHALLENGE_MS } : undefined,
        appraisal: claims === undefined ? { refusals } : { refusals, claims },
        allowSimulated: cvm.tee.simulated,
        order: {
          isOpen: order.isOpen,
          deadlineMs: order.deadlineMs,
          // An assignment that the current leader did not make assigns the order to nobody.
          node: isCurrent ? assignment.node : parseAddress(`0x${"0".repeat(40)}`),
          offerIds: order.offers.map(({ id }) => id),
        },
        offer: { owner: offer.owner, headerDigest: offer.headerDigest, consentDigest: offer.consentDigest },
        planned,
      },
    };
  }

  #statement(peer: Asker, request: ReleaseRequest): Uint8Array {
    const { cvm, clock, realm } = this.#ports;
    const { orderId, offerId } = request;
    return signSign1({
      contentType: RELEASE_TYPE,
      kid: sha256(cvm.keys.identity),
      payload: encodeCanonical({ version: 1, ...realm, orderId, offerId, to: peer.id, atMs: clock.nowMs() }),
      sign: cvm.sign,
    });
  }

  /** The share that is asked for. Who holds another epoch of the key says so: the asker looks again. */
  #heldFor(fields: MessageFields): Verdict<Held> {
    const { keys } = this.#ports;
    const [groupId, epoch] = [fields.text("groupId") as Digest, fields.count("epoch")];
    const held = keys.heldOf(groupId, epoch);
    if (held !== undefined) return accept(held);
    const other = keys.held().find(({ group }) => group.groupId === groupId);
    if (other === undefined)
      return refuse("RELEASE_GROUP_MISSING", "This node holds no share of that key-release group.");
    return refuse(
      "RELEASE_EPOCH_OTHER",
      `The request is for epoch ${epoch}; the group is in ${other.group.epoch}.`,
    );
  }
}

interface Answers {
  readonly partials: PartialKey[];
  readonly refusals: Refusal[];
  readonly failures: unknown[];
}

/** Refusals of members that shares are being taken from or given to: they pass by themselves. */
const PASSING: ReadonlySet<string> = new Set(["RELEASE_EPOCH_OTHER", "RELEASE_GROUP_MISSING"]);

function unreachable(why: string, cause: unknown): CloisterError {
  return new CloisterError("RELEASE_UNREACHABLE", why, {
    hint: "It is tried again until the order's deadline.",
    cause,
  });
}

/** The same key may be known in two epochs: the later one is used. */
function ringOf(groups: readonly GroupKey[]): GroupRing | undefined {
  const [current, ...retired] = groups.toSorted((a, b) => b.epoch - a.epoch);
  return current === undefined ? undefined : { current, retired };
}

function readAssignment(fields: MessageFields): Assignment & { readonly signature: Uint8Array } {
  return {
    orderId: parseHex32(fields.text("orderId")),
    node: parseAddress(fields.text("node")),
    term: fields.count("term"),
    epoch: fields.count("epoch"),
    signature: fields.bytes("signature", 65),
  };
}
