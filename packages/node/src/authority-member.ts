import type { Endorsements, Evidence } from "@cloister/attestation";
import {
  authorityReportData,
  AuthorityShare,
  ChallengeBook,
  decodeAuthorityStatement,
  decodeEndorsements,
  decodeEvidence,
  encodeEvidence,
  endorsementsDigest,
  jointChallenge,
  parseCheckpoint,
  prepareAuthorityCertificate,
  prepareRevocationList,
  publicKeyOf,
  SigningRound,
  verifyAuthorityCertificate,
  verifyNodeCertificate,
  Witness,
  witnessKeyOf,
  type AuthorityStatement,
  type ChallengePart,
  type GroupKey,
  type KeyShare,
  type LogWitnesses,
  type MemberView,
  type Realm,
} from "@cloister/certification";
import { encodeGroupKey } from "@cloister/custody";
import {
  CloisterError,
  codeOf,
  decodeCanonical,
  digestFrom,
  encodeCanonical,
  equalBytes,
  parseAddress,
  toHex,
  valueOf,
  type Cbor,
  type Clock,
  type Digest,
  type Entropy,
  type Log,
  type NodeId,
  type Refusal,
} from "@cloister/core";
import { isMeasurementApproved, signStatement, type Chain, type MarketState } from "@cloister/market";
import { authoritySerial, partBody, readIssuance, readPart, shareBody } from "./authority-wire.ts";
import { evidenceOf, type Cvm } from "./cvm.ts";
import { AUTHORITY_LIFETIME_MS, isOperatorsNode, NODE_LIFETIME_MS, registrationOf } from "./issuer.ts";
import type { Held } from "./key-group-record.ts";
import { KeyGroup, type Roster, type RosterMember } from "./key-group.ts";
import { Lines } from "./lines.ts";
import { logWitnessesOf } from "./log-witnesses.ts";
import { MessageFields, refusalsBody, methodUnknown } from "./message.ts";
import type { Peer, Timers, Transport } from "./ports.ts";
import { judgeList, listOf, readRevoked } from "./revocation.ts";
import type { Verifier } from "./verifier.ts";

/** The certification key's name in ceremonies and records. */
export const CERTIFICATION_KEY = "certification";
const LOG_RECORD = "authority-log";
const LOOK_MS = 200;
const SETTLED_MS = 2_000;
const SKEW_MS = 5 * 60_000;

export interface AuthorityMemberPorts {
  readonly cvm: Cvm;
  readonly verifier: Verifier;
  readonly chain: Chain;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly entropy: Entropy;
  readonly log: Log;
  readonly realm: Realm;
  readonly transport: Transport;
  /** Where this node listens, and where the founders do; who answers there proves itself. */
  readonly endpoint: string;
  readonly founders: readonly string[];
  met(peer: Peer): void;
  peerKeys(id: NodeId): Pick<Peer, "identity" | "wrap"> | undefined;
}

/**
 * One node's part in the certification authority: whoever the chain approves as authority makes the root key
 * together with the others and signs with its share of it, after judging everything itself. It also witnesses the
 * transparency log: it signs only what extends what it saw. spec/certificates.md §7
 */
export class AuthorityMember {
  readonly #ports: AuthorityMemberPorts;
  readonly #group: KeyGroup;
  readonly #lines: Lines;
  readonly #book = new ChallengeBook();
  readonly #rounds = new Map<string, SigningRound>();
  #signer: { readonly held: Held; readonly share: KeyShare; readonly issuing: AuthorityShare } | undefined;
  #witness: Witness | undefined;
  #stopped = false;

  private constructor(ports: AuthorityMemberPorts, group: KeyGroup, lines: Lines) {
    this.#ports = ports;
    this.#group = group;
    this.#lines = lines;
  }

  static async open(ports: AuthorityMemberPorts): Promise<AuthorityMember> {
    const { cvm, entropy, log } = ports;
    const lines = new Lines(ports.transport, ports.met);
    const group = await KeyGroup.open({
      ...{ name: CERTIFICATION_KEY, cvm, entropy, log },
      send: (to, body) => lines.get(to)?.notify("authority.key", body, "urgent"),
      isReachable: (id) => lines.get(id) !== undefined,
    });
    return new AuthorityMember(ports, group, lines);
  }

  /** Takes part in making and keeping the key for as long as the node lives. */
  async run(): Promise<void> {
    const { chain, clock, timers, log } = this.#ports;
    while (!this.#stopped) {
      try {
        const { state } = this.#group.settled
          ? (chain.view() ?? (await chain.refresh()))
          : await chain.refresh();
        this.#look(state, clock.nowMs());
      } catch (error) {
        log.warn("founding-delayed", { code: codeOf(error), reason: (error as Error).message });
      }
      await timers.wait(this.#group.settled ? SETTLED_MS : LOOK_MS);
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#lines.close();
  }

  /** What status pages show of it; undefined where this node holds no share of the authority's key. */
  view(): Readonly<Record<string, unknown>> | undefined {
    const held = this.#group.held;
    if (held === undefined) return undefined;
    const { epoch, threshold, members } = held.group;
    return { epoch, threshold, members: members.map(({ id }) => id), settled: this.#group.settled };
  }

  #look(state: MarketState, nowMs: number): void {
    if (state.authorities.get(this.#self) === undefined) return;
    const { founders, endpoint: own } = this.#ports;
    for (const endpoint of authorityEndpoints(state, founders)) {
      // Who is starting, or gone, is dialed again at the next look.
      if (endpoint !== own) this.#lines.to(endpoint).catch(() => undefined);
    }
    const roster = this.#rosterOf(state);
    if (roster !== undefined) this.#group.look(roster, nowMs);
  }

  get #self(): NodeId {
    return this.#ports.cvm.keys.settlement;
  }

  /** The authorities that the chain approves; each approval and revocation after the first ones makes another roster. */
  #rosterOf(state: MarketState): Roster | undefined {
    const listed = [...state.authorities].filter(([, { revoked }]) => !revoked);
    const members = listed.flatMap(([id]): RosterMember[] => {
      const member = this.#memberOf(id);
      return member === undefined ? [] : [member];
    });
    if (members.length !== listed.length) return undefined;
    return { epoch: rosterEpochOf(state), members };
  }

  #memberOf(id: NodeId): RosterMember | undefined {
    const { cvm, peerKeys } = this.#ports;
    const keys = id === this.#self ? cvm.keys : peerKeys(id);
    if (keys !== undefined) return { id, identityKey: keys.identity, wrapKey: keys.wrap };
    return this.#group.held?.group.members.find((member) => member.id === id);
  }

  /** Answers what begins with `authority.` and `log.`. */
  async answer(peer: Peer, method: string, body: Cbor): Promise<Cbor | undefined> {
    const fields = new MessageFields(body);
    if (method === "authority.key") {
      this.#group.received(peer.id, fields, this.#ports.clock.nowMs());
      return undefined;
    }
    if (method.startsWith("authority.")) await this.#requireKeeper(peer);
    if (method === "authority.part") return this.#givePart();
    if (method === "authority.begin") return this.#beginSigning();
    if (method === "authority.evidence") return this.#giveEvidence(peer, fields);
    if (method === "authority.sign-own") return this.#signOwn(peer, fields);
    if (method === "authority.sign-list") return this.#signList(fields);
    if (method === "authority.sign") return this.#sign(fields);
    if (method === "authority.register") return this.#register(fields);
    if (method === "log.seen") return this.#logSeen(peer, fields);
    if (method === "log.witness") return this.#witnessCheckpoint(peer, fields);
    throw methodUnknown(method);
  }

  #own(): { readonly held: Held; readonly share: KeyShare; readonly issuing: AuthorityShare } {
    const held = this.#group.held;
    if (held === undefined) {
      throw new CloisterError("AUTHORITY_NOT_FOUNDED", "This node holds no share of an authority's key yet.");
    }
    if (this.#signer?.held === held) return this.#signer;
    const share = signingShareOf(held);
    // Rounds of an earlier epoch would keep its shares in memory.
    this.#rounds.clear();
    return (this.#signer = { held, share, issuing: new AuthorityShare(share) });
  }

  /** Whoever brings members together keeps their log, so that whatever they certify is in it; others are not served. */
  async #requireKeeper({ id, identity }: Peer): Promise<void> {
    const key = await this.#logKey();
    if (key === undefined || equalBytes(key, identity)) return;
    throw new CloisterError("AUTHORITY_LOG_OTHER", `${id} does not keep the log of this authority.`);
  }

  #givePart(): Cbor {
    const { entropy, clock } = this.#ports;
    const { held, issuing } = this.#own();
    return { ...partBody(issuing.challenge(entropy, clock.nowMs())), group: encodeGroupKey(held.group) };
  }

  /** Begins something that no node asked for: this member's random bytes, and its nonces for one signature. */
  #beginSigning(): Cbor {
    const { entropy, clock } = this.#ports;
    const { held, share } = this.#own();
    const round = new SigningRound(share, entropy);
    const nonce = this.#book.issue(entropy, clock.nowMs());
    if (this.#rounds.size >= 16) this.#rounds.delete(this.#rounds.keys().next().value as string);
    this.#rounds.set(toHex(nonce), round);
    const part = { index: share.index, nonce, commitment: round.commitment };
    return { ...partBody(part), group: encodeGroupKey(held.group) };
  }

  async #giveEvidence(peer: Peer, fields: MessageFields): Promise<Cbor> {
    const statement = decodeAuthorityStatement(fields.bytes("statement"));
    const { share } = this.#own();
    const refusals = await this.#judgeStatement(statement, peer);
    if (refusals.length > 0) return refusalsBody(refusals);
    const reportData = authorityReportData(publicKeyOf(share.group), statement, share.index);
    return { evidence: encodeEvidence(await evidenceOf(this.#ports.cvm, reportData)) };
  }

  /** Signs the certificate of the authority itself: who its members are, on evidence of each of them. */
  async #signOwn(peer: Peer, fields: MessageFields): Promise<Cbor> {
    const { clock } = this.#ports;
    const { share } = this.#own();
    const parts = fields.list("parts").map(readPart);
    const statement = decodeAuthorityStatement(fields.bytes("statement"));
    const evidence = new Map(
      fields.list("evidence").map((one) => [one.count("index"), decodeEvidence(one.bytes("evidence"))]),
    );
    const endorsements = decodeEndorsements(fields.bytes("endorsements"));
    const nowMs = fields.count("nowMs");
    const round = this.#takeRound(parts, share.index);
    if (round === undefined || !equalBytes(statement.challenge, jointChallenge(parts))) {
      return refusalsBody([challengeUnknown]);
    }
    const refusals = await this.#judgeStatement(statement, peer);
    refusals.push(...this.#judgeMembers(publicKeyOf(share.group), statement, evidence, endorsements));
    if (Math.abs(nowMs - clock.nowMs()) > SKEW_MS) {
      refusals.push({ code: "CERTIFY_TIME_REFUSED", reason: "The certificate's beginning is not now." });
    }
    if (refusals.length > 0) return refusalsBody(refusals);
    const { toBeSigned } = prepareAuthorityCertificate({
      ...{ key: publicKeyOf(share.group), statement, nowMs, lifetimeMs: AUTHORITY_LIFETIME_MS },
      serial: authoritySerial(statement.challenge),
      evidence: Object.fromEntries(evidence),
    });
    const signed = round.sign(
      parts.map(({ commitment }) => commitment),
      toBeSigned,
    );
    if (signed === undefined) return refusalsBody([signersInvalid]);
    await this.#keepLog(statement.log.key);
    return shareBody(signed);
  }

  /** Signs a list of revoked certificates that says what the chain says, as this member sees it. */
  async #signList(fields: MessageFields): Promise<Cbor> {
    const { chain, clock, realm } = this.#ports;
    const { share } = this.#own();
    const parts = fields.list("parts").map(readPart);
    const round = this.#takeRound(parts, share.index);
    if (round === undefined) return refusalsBody([challengeUnknown]);
    const nowMs = fields.count("nowMs");
    const revoked = readRevoked(fields);
    const { state } = await chain.refresh();
    const options = { authorityKey: publicKeyOf(share.group), realm, nowMs };
    const refusals = judgeList(revoked, state, options);
    if (Math.abs(nowMs - clock.nowMs()) > SKEW_MS) {
      refusals.push({ code: "CERTIFY_TIME_REFUSED", reason: "The list's time is not now." });
    }
    if (refusals.length > 0) return refusalsBody(refusals);
    const { toBeSigned } = prepareRevocationList(options.authorityKey, listOf(revoked, options));
    const commitments = parts.map(({ commitment }) => commitment);
    const signed = round.sign(commitments, toBeSigned);
    return signed === undefined ? refusalsBody([signersInvalid]) : shareBody(signed);
  }

  #takeRound(parts: readonly ChallengePart[], index: number): SigningRound | undefined {
    const own = parts.find((part) => part.index === index);
    const name = own === undefined ? "" : toHex(own.nonce);
    const round = this.#rounds.get(name);
    this.#rounds.delete(name);
    if (own === undefined || !this.#book.redeem(own.nonce, this.#ports.clock.nowMs()).ok) return undefined;
    return round;
  }

  /** Holds what the authority says of itself against what this member knows. */
  async #judgeStatement(statement: AuthorityStatement, peer: Peer): Promise<Refusal[]> {
    const { realm, cvm } = this.#ports;
    const { held, share } = this.#own();
    const refusals: Refusal[] = [];
    const need = (holds: boolean, code: string, reason: string): void => {
      if (!holds) refusals.push({ code, reason });
    };
    const { chainId, contract, registry, members, threshold, simulated, log } = statement;
    const here = chainId === realm.chainId && contract === realm.contract && registry === realm.registry;
    need(here, "CERTIFICATE_REALM_MISMATCH", "The authority would belong to another deployment.");
    const same =
      members.length === held.group.members.length &&
      members.every(({ index, signer }) =>
        held.group.members.some((one) => one.index === index && one.id === signer),
      );
    need(same, "AUTHORITY_MEMBERS_OTHER", "The statement does not name exactly those who hold the key.");
    need(
      threshold === share.group.threshold,
      "AUTHORITY_MEMBERS_OTHER",
      "The statement names another threshold.",
    );
    need(
      simulated === cvm.tee.simulated,
      "AUTHORITY_MEMBERS_OTHER",
      "The statement names another kind of TEE.",
    );
    need(
      equalBytes(log.key, (await this.#logKey()) ?? peer.identity),
      "AUTHORITY_LOG_OTHER",
      "The statement names another log than the one that this authority has.",
    );
    need(
      log.witnesses !== undefined && sameWitnesses(log.witnesses, logWitnessesOf(held.group.members)),
      "AUTHORITY_LOG_OTHER",
      "The statement does not name exactly those who hold the key as witnesses of the log.",
    );
    return refusals;
  }

  /** Evidence of all members that the statement proves must bind the key and pass this member's own policy. */
  #judgeMembers(
    key: Uint8Array,
    statement: AuthorityStatement,
    given: ReadonlyMap<number, Evidence>,
    endorsements: Endorsements,
  ): Refusal[] {
    const digest = endorsementsDigest(endorsements);
    const proven = statement.members.filter((member) => member.endorsements !== undefined);
    return proven.flatMap((member): readonly Refusal[] => {
      const evidence = given.get(member.index);
      if (evidence === undefined || member.endorsements !== digest) {
        return [{ code: "AUTHORITY_MEMBERS_OTHER", reason: `There is no evidence of ${member.signer}.` }];
      }
      const reportData = authorityReportData(key, statement, member.index);
      const verdict = this.#ports.verifier.appraise(evidence, endorsements, reportData);
      if (!verdict.ok) return verdict.refusals;
      if (verdict.value.claims.measurement === statement.measurement) return [];
      return [{ code: "AUTHORITY_MEMBERS_OTHER", reason: `${member.signer} runs another image.` }];
    });
  }

  /** Signs a node's certificate with this member's share, if everything is in order by its own judgement. */
  async #sign(fields: MessageFields): Promise<Cbor> {
    const { chain, clock, realm, log, verifier } = this.#ports;
    const issuance = readIssuance(fields);
    const { state } = await chain.refresh();
    const nowMs = clock.nowMs();
    const view: MemberView = {
      ...{ nowMs, realm, lifetimeMsMax: NODE_LIFETIME_MS },
      isApproved: (measurement: Digest) => isMeasurementApproved(state, measurement, nowMs),
      isBarred: (node) => verifier.isBarred(node),
      appraise: (evidence, endorsements, reportData) => verifier.appraise(evidence, endorsements, reportData),
    };
    const verdict = this.#own().issuing.sign(issuance, view);
    if (verdict.ok) return shareBody(verdict.value);
    const { settlement } = issuance.request.keys;
    log.warn("certificate-refused", { node: settlement, codes: verdict.refusals.map(({ code }) => code) });
    return refusalsBody(verdict.refusals);
  }

  /** What the contracts check is signed by one member: only for a certificate that the authority issued. */
  #register(fields: MessageFields): Cbor {
    const { realm, clock, chain, cvm } = this.#ports;
    const { share } = this.#own();
    const nowMs = fields.count("nowMs");
    const der = fields.bytes("certificate");
    const verdict = verifyNodeCertificate(der, {
      ...{ authorityKey: publicKeyOf(share.group), nowMs: clock.nowMs(), realm },
    });
    if (!verdict.ok) return refusalsBody(verdict.refusals);
    const { keys, statement, notAfterMs } = verdict.value;
    if (Math.abs(notAfterMs - NODE_LIFETIME_MS - nowMs) > 1_000) {
      const reason = "The registration is of another time than the certificate.";
      return refusalsBody([{ code: "CERTIFY_TIME_REFUSED", reason }]);
    }
    const operator = parseAddress(fields.text("operator"));
    const word = { operator, signature: fields.bytes("operatorSignature", 64) };
    if (!isOperatorsNode(word, statement.challenge, keys.identity)) {
      const reason = "The node did not name this operator.";
      return refusalsBody([{ code: "CERTIFY_OPERATOR_OTHER", reason }]);
    }
    const registration = registrationOf(keys, operator, der, statement.measurement, nowMs);
    const secret = cvm.keys.settlementSecret;
    return { signature: signStatement(chain.deployment, "NodeCertificate", registration, secret) };
  }

  /** A member that did not sign the authority's certificate learns from it which log the authority keeps. */
  async #logSeen(peer: Peer, fields: MessageFields): Promise<Cbor> {
    if ((await this.#logKey()) === undefined) {
      const { clock, realm } = this.#ports;
      const options = { nowMs: clock.nowMs(), realm };
      const { key, statement } = valueOf(verifyAuthorityCertificate(fields.bytes("authority"), options));
      if (equalBytes(key, publicKeyOf(this.#own().share.group))) await this.#keepLog(statement.log.key);
    }
    return { size: await (await this.#witnessOf(peer)).lastSize() };
  }

  #keepLog(key: Uint8Array): Promise<void> {
    return this.#ports.cvm.sealed.write(LOG_RECORD, encodeCanonical({ key }));
  }

  /** Co-signs a checkpoint that extends what this node saw, for readers, and its root, for the chain. */
  async #witnessCheckpoint(peer: Peer, fields: MessageFields): Promise<Cbor> {
    const { clock, chain, cvm } = this.#ports;
    const note = fields.bytes("note");
    const witness = await this.#witnessOf(peer);
    const verdict = await witness.cosign(note, fields.byteList("path"), clock.nowMs());
    if (!verdict.ok) return refusalsBody(verdict.refusals);
    const { size, root } = parseCheckpoint(note).checkpoint;
    const checkpoint = { size, root: digestFrom(root) };
    const anchor = signStatement(chain.deployment, "Checkpoint", checkpoint, cvm.keys.settlementSecret);
    return { note: verdict.value, anchor };
  }

  /** The log that the authority named when it was founded, and no other. */
  async #witnessOf(peer: Peer): Promise<Witness> {
    const key = await this.#logKey();
    if (key === undefined || !equalBytes(key, peer.identity)) {
      throw new CloisterError("AUTHORITY_LOG_OTHER", "This authority keeps another log.");
    }
    const { cvm, realm } = this.#ports;
    const self = witnessKeyOf({ node: cvm.keys.settlement, key: cvm.keys.identity });
    const log = { name: logOriginOf(realm), key };
    const anchored = async () => (await this.#ports.chain.refresh()).state.logRoot;
    return (this.#witness ??= new Witness(cvm.sealed, log, self, cvm.sign, anchored));
  }

  async #logKey(): Promise<Uint8Array | undefined> {
    const record = await this.#ports.cvm.sealed.read(LOG_RECORD);
    return record === undefined ? undefined : (decodeCanonical(record) as unknown as { key: Uint8Array }).key;
  }
}

const challengeUnknown: Refusal = {
  code: "CERTIFY_CHALLENGE_UNKNOWN",
  reason: "This member gave out no such challenge, or has signed for it.",
};
const signersInvalid: Refusal = {
  code: "CERTIFY_SIGNERS_INVALID",
  reason: "Those who are to sign are too few, or not members of this authority.",
};

function sameWitnesses(some: LogWitnesses, others: LogWitnesses): boolean {
  const text = ({ countMin, members }: LogWitnesses): string =>
    [countMin, ...members.map(({ node, key }) => `${node} ${toHex(key)}`)].join();
  return text(some) === text(others);
}

/** Grows by one with each approval after the first ones, which the contracts were deployed with, and each revocation. */
export function rosterEpochOf({ authorities }: Pick<MarketState, "authorities">): number {
  const approvals = [...authorities.values()];
  const firstSeconds = Math.min(...approvals.map(({ effectiveAtSeconds }) => effectiveAtSeconds));
  const later = approvals.filter(({ effectiveAtSeconds }) => effectiveAtSeconds > firstSeconds).length;
  return 1 + later + approvals.filter(({ revoked }) => revoked).length;
}

/** Where authorities may listen: the founders, and what the chain lists for those that it approves. */
export function authorityEndpoints(state: MarketState, founders: readonly string[]): string[] {
  const listed = [...state.authorities.keys()].flatMap((id) => {
    const endpoint = state.nodes.get(id)?.endpoint;
    return endpoint === undefined ? [] : [endpoint];
  });
  return [...new Set([...founders, ...listed])];
}

/** The name of a network's transparency log. */
export function logOriginOf({ chainId, contract }: Realm): string {
  return `cloister.local/${chainId}/${contract.slice(2, 10)}`;
}

/** The same key as signatures see it: the group's public point is an Ed25519 key. RFC 9591 §6.1 */
export function signingGroupOf(group: Held["group"]): GroupKey {
  const { threshold, commitments, members } = group;
  return { threshold, size: Math.max(...members.map(({ index }) => index)), commitment: commitments };
}

function signingShareOf({ group, share }: Held): KeyShare {
  return { index: share.index, secret: share.secret, group: signingGroupOf(group) };
}
