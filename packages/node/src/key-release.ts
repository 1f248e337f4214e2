import {
  combinePartials,
  judgeRelease,
  makePartial,
  parseHeader,
  headerDigest,
  releaseReportData,
  unwrapPartial,
  wrapPartial,
  type PartialKey,
  type ReleaseFacts,
  type ReleaseRequest,
} from "@cloister/custody";
import { ChallengeBook, encodeLogEntry, type Realm } from "@cloister/certification";
import type { Evidence } from "@cloister/attestation";
import {
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
  type Entropy,
  type Log,
  type NodeId,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { recoverStatement, type Assignment, type Chain } from "@cloister/market";
import { decodeArguments, plannedUse, readOrder, type KeyRelease, type KeyRequest } from "@cloister/workload";
import type { HeldGroup } from "./ceremony.ts";
import { evidenceOf, type Cvm } from "./cvm.ts";
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
  held(): HeldGroup | undefined;
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

  constructor(ports: KeyReleasePorts) {
    this.#ports = ports;
  }

  /** Answers `release.challenge` and `release`. */
  async answer(peer: Asker, method: string, body: Cbor): Promise<Cbor> {
    const { entropy, clock } = this.#ports;
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
    const held = this.#held();
    const header = parseHeader(request.headerBytes);
    const context = { orderId: request.orderId, headerDigest: headerDigest(header) };
    const partials: PartialKey[] = [];
    const refusals: Refusal[] = [];
    const failures: unknown[] = [];
    await Promise.all(
      held.group.members.map(async ({ id }) => {
        try {
          const answer = await this.#ask(id as NodeId, held, request);
          if (answer.ok) partials.push(unwrapPartial(answer.value, this.#ports.cvm.keys.wrapSecret, context));
          else refusals.push(...answer.refusals.map((one) => ({ ...one, reason: `${id}: ${one.reason}` })));
        } catch (error) {
          failures.push(error);
        }
      }),
    );
    const { threshold } = held.group;
    if (partials.length < threshold && partials.length + failures.length >= threshold) {
      throw new CloisterError("RELEASE_UNREACHABLE", "Too few key-release members can be reached.", {
        hint: "It is tried again until the order's deadline.",
        cause: failures[0],
      });
    }
    const combined = combinePartials(held.group, header, context, partials);
    if (combined.ok) return { ok: true, value: combined.value.fileKey };
    const [first, ...rest] = [...refusals, ...combined.refusals];
    return { ok: false, refusals: [first as Refusal, ...rest] };
  }

  async #ask(member: NodeId, held: HeldGroup, request: KeyRequest): Promise<Verdict<Uint8Array>> {
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
      epoch: held.group.epoch,
      assignment: { ...assignment },
    });
    const [first, ...rest] = answer.refusals();
    if (first !== undefined) return { ok: false, refusals: [first, ...rest] };
    return { ok: true, value: answer.bytes("wrapped") };
  }

  async #judge(peer: Asker, fields: MessageFields): Promise<Verdict<Uint8Array>> {
    const { entropy } = this.#ports;
    const held = this.#held();
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
    const facts = await this.#facts(peer, request, assignment, fields);
    if (!facts.ok) return facts;
    const verdict = judgeRelease(request, facts.value);
    if (!verdict.ok) return verdict;
    const { header, context } = verdict.value;
    const partial = makePartial(held.group, held.share, header, context, entropy);
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
        group: this.#held().group,
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

  #held(): HeldGroup {
    const held = this.#ports.held();
    if (held !== undefined) return held;
    throw new CloisterError("RELEASE_GROUP_MISSING", "This node holds no share of a key-release group yet.");
  }
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
