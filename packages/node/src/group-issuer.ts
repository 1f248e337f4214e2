import {
  authorityReportData,
  certifyReportData,
  combineShares,
  decodeEvidence,
  encodeAuthorityStatement,
  encodeEndorsements,
  encodeEvidence,
  endorsementsDigest,
  groupCertificate,
  jointChallenge,
  judgeRequest,
  parseCheckpoint,
  prepareAuthorityCertificate,
  prepareRevocationList,
  publicKeyOf,
  verifyAuthorityCertificate,
  type AuthorityStatement,
  type CertificateRequest,
  type ChallengePart,
  type GroupIssuance,
  type LogWitnesses,
  type MemberView,
  type Realm,
  type SignatureShare,
} from "@cloister/certification";
import { decodeGroupKey, groupDigest, type GroupKey } from "@cloister/custody";
import {
  accept,
  CloisterError,
  digestFrom,
  toHex,
  valueOf,
  type Cbor,
  type Clock,
  type Digest,
  type Entropy,
  type Log,
  type NodeId,
  type RecordStore,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import { isMeasurementApproved, recoverStatement, type Chain, type MarketState } from "@cloister/market";
import type { Endorsements, Evidence } from "@cloister/attestation";
import { authorityEndpoints, signingGroupOf } from "./authority-member.ts";
import { authoritySerial, issuanceBody, partBody, readPart, readShare } from "./authority-wire.ts";
import type { Cvm } from "./cvm.ts";
import {
  AUTHORITY_LIFETIME_MS,
  keepPapers,
  loadPapers,
  NODE_LIFETIME_MS,
  registrationOf,
  type AuthorityPapers,
  type Issued,
  type OperatorWord,
} from "./issuer.ts";
import { Lines } from "./lines.ts";
import type { WitnessAnswer } from "./log-publisher.ts";
import { logWitnessesOf } from "./log-witnesses.ts";
import { MessageFields } from "./message.ts";
import type { Channel, Transport } from "./ports.ts";
import { listOf, revokedBody, type Revoked } from "./revocation.ts";
import type { Verifier } from "./verifier.ts";

const ASK_MS = 10_000;
const WITNESS_MS = 3_000;
const SESSIONS_MAX = 256;
/** So long others are asked before a member that spoiled a signature. */
const ASIDE_MS = 60_000;

export interface GroupIssuerPorts {
  readonly cvm: Cvm;
  readonly verifier: Verifier;
  readonly chain: Chain;
  readonly records: RecordStore;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly log: Log;
  readonly realm: Realm;
  /** The name of the transparency log; its key is the identity of the CVM that keeps it. */
  readonly origin: string;
  readonly transport: Transport;
  /** Where the members may be reached before the chain lists their endpoints. */
  readonly founders: readonly string[];
  /** Puts the authority's certificate into the log. */
  publish(certificate: Uint8Array): Promise<unknown>;
  /** What proves to a witness that the log of one size extends the one that it saw. */
  consistency(seen: number, size: number): Promise<readonly Uint8Array[]>;
}

interface Member {
  readonly id: NodeId;
  readonly channel: Channel;
  readonly part: ChallengePart;
}

/** Members that are to sign one certificate, and the group whose key they share. */
interface Session {
  readonly group: GroupKey;
  readonly members: readonly Member[];
}

/**
 * Brings the members of an authority together: it holds no share of their key and decides nothing. Each member
 * gives its part of a challenge, judges the answer for itself, and signs or does not. spec/certificates.md §7
 */
export class GroupIssuer {
  readonly #ports: GroupIssuerPorts;
  readonly #sessions = new Map<string, Session>();
  readonly #lines: Lines;
  readonly #asideUntilMs = new Map<NodeId, number>();
  #papers: AuthorityPapers | undefined;

  private constructor(ports: GroupIssuerPorts, papers: AuthorityPapers | undefined) {
    this.#ports = ports;
    this.#papers = papers;
    this.#lines = new Lines(ports.transport);
  }

  static async open(ports: GroupIssuerPorts): Promise<GroupIssuer> {
    const { records, clock, realm } = ports;
    return new GroupIssuer(ports, await loadPapers(records, clock, realm));
  }

  /** The authority's certificate; undefined until it is founded. */
  get papers(): AuthorityPapers | undefined {
    return this.#papers;
  }

  /** Who witnesses the log, as the authority's certificate says. */
  get witnesses(): LogWitnesses | undefined {
    return this.#certificate()?.statement.log.witnesses;
  }

  close(): void {
    this.#lines.close();
  }

  /**
   * Has the members sign the authority's certificate where there is none, where half of its time is over, and where
   * the chain's authorities are not those that it names. It is in the log before anybody gets it.
   * @throws {CloisterError} `AUTHORITY_NOT_FOUNDED` while too few members can be reached
   */
  async found(): Promise<void> {
    const { chain, log, records, publish } = this.#ports;
    const { state } = await chain.refresh();
    const known = this.#certificate();
    const good = known !== undefined && !this.#isOld(known) && known.statement.log.witnesses !== undefined;
    if (good && namesAll(known.statement, state)) return;
    const session = await this.#gather("authority.begin", provenCount);
    if (good && namesGroup(known.statement, session.group)) return;
    const statement = this.#statementOf(session);
    const proven = await this.#prove(session, statement);
    const papers = await this.#signOwn(session, proven);
    await publish(papers.certificate);
    await keepPapers(records, papers);
    this.#papers = papers;
    const { threshold, members } = session.group;
    log.info("authority-founded", { threshold, members: members.map(({ id }) => id) });
  }

  /** Begins to certify: fresh bytes of as many members as must sign, for the node to answer. */
  async challenge(): Promise<Uint8Array> {
    if (this.#papers === undefined) throw notFounded("its members are still making its key");
    const session = await this.#gather("authority.part", ({ threshold }) => threshold);
    const challenge = jointChallenge(session.members.map(({ part }) => part));
    if (this.#sessions.size >= SESSIONS_MAX)
      this.#sessions.delete(this.#sessions.keys().next().value as string);
    this.#sessions.set(toHex(challenge), session);
    return challenge;
  }

  /** Lays a node's answer before the members that gave the challenge. */
  async issue(request: CertificateRequest, word: OperatorWord): Promise<Verdict<Issued>> {
    const { verifier, clock } = this.#ports;
    const name = toHex(request.challenge);
    const session = this.#sessions.get(name);
    this.#sessions.delete(name);
    if (session === undefined) {
      const reason = "This authority gave out no such challenge, or it was answered already.";
      return { ok: false, refusals: [{ code: "CERTIFY_CHALLENGE_UNKNOWN", reason }] };
    }
    const { keys, challenge, evidence } = request;
    const { endorsements } = await verifier.judge(evidence, certifyReportData(challenge, keys));
    const nowMs = clock.nowMs();
    const parts = session.members.map(({ part }) => part);
    const issuance: GroupIssuance = { parts, request, endorsements, nowMs, lifetimeMs: NODE_LIFETIME_MS };
    const fresh: Verdict<Uint8Array> = accept(challenge);
    const judged = judgeRequest(request, endorsements, fresh, await this.#view(nowMs));
    if (!judged.ok) return judged;
    const unsigned = groupCertificate(publicKeyOf(signingGroupOf(session.group)), issuance, judged.value);
    const body = issuanceBody(issuance);
    const signature = await this.#signTogether(session, "authority.sign", body, unsigned.toBeSigned);
    if (!signature.ok) return signature;
    const certificate = unsigned.finish(signature.value);
    const { measurement } = judged.value;
    return accept({
      ...{ certificate, endorsements: encodeEndorsements(endorsements) },
      registration: registrationOf(keys, word.operator, certificate, measurement, nowMs),
      signature: await this.#register(session, { certificate, nowMs, ...operatorBody(word) }),
    });
  }

  /**
   * Has the members sign a list of these certificates as revoked, as of now.
   * @throws {CloisterError} `AUTHORITY_NOT_FOUNDED`, `REVOCATION_LIST_WRONG`
   */
  async revocationList(revoked: readonly Revoked[]): Promise<Uint8Array> {
    const { clock, realm } = this.#ports;
    const session = await this.#gather("authority.begin", ({ threshold }) => threshold);
    const authorityKey = publicKeyOf(signingGroupOf(session.group));
    const nowMs = clock.nowMs();
    const unsigned = prepareRevocationList(authorityKey, listOf(revoked, { authorityKey, realm, nowMs }));
    const parts = session.members.map(({ part }) => partBody(part));
    const body = { parts, revoked: revokedBody(revoked), nowMs };
    return unsigned.finish(
      valueOf(await this.#signTogether(session, "authority.sign-list", body, unsigned.toBeSigned)),
    );
  }

  /** Has the members co-sign what extends the log that they saw. Who does not answer is left out. */
  async witness(note: Uint8Array, size: number): Promise<readonly WitnessAnswer[]> {
    const { log } = this.#ports;
    const answers = await Promise.all(
      (await this.#endpoints()).map(async (endpoint) => {
        try {
          return await this.#witnessAt(endpoint, note, size);
        } catch (error) {
          log.warn("witness-missing", { endpoint, reason: (error as Error).message });
          return undefined;
        }
      }),
    );
    return answers.filter((answer) => answer !== undefined);
  }

  async #witnessAt(endpoint: string, note: Uint8Array, size: number): Promise<WitnessAnswer> {
    const channel = await this.#memberAt(endpoint);
    const named = { authority: this.#papers?.certificate ?? new Uint8Array(0) };
    const seen = new MessageFields(await channel.request("log.seen", named, WITNESS_MS)).count("size");
    const path = [...(await this.#ports.consistency(seen, size))];
    const answer = new MessageFields(await channel.request("log.witness", { note, path }, WITNESS_MS));
    requireNone(answer.refusals());
    const anchor = answer.bytes("anchor", 65);
    const checkpoint = { size, root: digestFrom(parseCheckpoint(note).checkpoint.root) };
    const { id } = channel.peer;
    if (recoverStatement(this.#ports.chain.deployment, "Checkpoint", checkpoint, anchor) !== id) {
      throw new CloisterError(
        "LOG_ANCHOR_UNSIGNED",
        `${id} gave a signature for the chain that is not its own.`,
      );
    }
    return { note: answer.bytes("note"), anchor };
  }

  async #view(nowMs: number): Promise<MemberView> {
    const { chain, realm, verifier } = this.#ports;
    const { state } = await chain.refresh();
    return {
      ...{ nowMs, realm, lifetimeMsMax: NODE_LIFETIME_MS },
      isApproved: (measurement: Digest) => isMeasurementApproved(state, measurement, nowMs),
      isBarred: (node) => verifier.isBarred(node),
      appraise: (evidence, by, reportData) => verifier.appraise(evidence, by, reportData),
    };
  }

  #certificate() {
    const { clock, realm } = this.#ports;
    if (this.#papers === undefined) return undefined;
    const verdict = verifyAuthorityCertificate(this.#papers.certificate, { nowMs: clock.nowMs(), realm });
    return verdict.ok ? verdict.value : undefined;
  }

  #isOld({
    notBeforeMs,
    notAfterMs,
  }: {
    readonly notBeforeMs: number;
    readonly notAfterMs: number;
  }): boolean {
    return this.#ports.clock.nowMs() > (notBeforeMs + notAfterMs) / 2;
  }

  /**
   * Asks members for their parts, and goes on with the first that are enough: nobody who hangs holds the others up, and
   * who spoiled a signature lately is asked only where the others are too few.
   * @throws {CloisterError} `AUTHORITY_NOT_FOUNDED`
   */
  async #gather(method: string, enough: (group: GroupKey) => number): Promise<Session> {
    const endpoints = await this.#endpoints();
    const nowMs = this.#ports.clock.nowMs();
    for (const [id, untilMs] of this.#asideUntilMs) if (untilMs <= nowMs) this.#asideUntilMs.delete(id);
    if (this.#asideUntilMs.size > 0) {
      const session = await this.#gatherOf(endpoints, method, enough, this.#asideUntilMs).catch(
        () => undefined,
      );
      if (session !== undefined) return session;
    }
    return this.#gatherOf(endpoints, method, enough, new Map());
  }

  async #gatherOf(
    endpoints: readonly string[],
    method: string,
    enough: (group: GroupKey) => number,
    without: ReadonlyMap<NodeId, unknown>,
  ): Promise<Session> {
    const byGroup = new Map<Digest, { readonly group: GroupKey; readonly members: Map<NodeId, Member> }>();
    const ask = async (endpoint: string): Promise<Session | undefined> => {
      const channel = await this.#memberAt(endpoint);
      const { id } = channel.peer;
      if (without.has(id)) return undefined;
      const fields = new MessageFields(await channel.request(method, {}, ASK_MS));
      const group = decodeGroupKey(fields.bytes("group"));
      const part = readPart(fields);
      if (!group.members.some((one) => one.id === id && one.index === part.index)) return undefined;
      const same = byGroup.get(groupDigest(group)) ?? { group, members: new Map<NodeId, Member>() };
      byGroup.set(groupDigest(group), same);
      same.members.set(id, { id, channel, part });
      if (same.members.size < enough(group)) return undefined;
      const members = [...same.members.values()].toSorted((a, b) => a.part.index - b.part.index);
      return { group, members };
    };
    const session = await firstOf(endpoints.map(ask));
    if (session !== undefined) return session;
    const [most] = [...byGroup.values()].toSorted((a, b) => b.members.size - a.members.size);
    if (most === undefined) throw notFounded("none of its members answers with a share of its key");
    throw notFounded(`${most.members.size} of the ${enough(most.group)} members that must sign answer`);
  }

  #statementOf({ group, members }: Session): AuthorityStatement {
    const { realm, cvm, origin } = this.#ports;
    const [first, ...rest] = group.members
      .toSorted((a, b) => a.index - b.index)
      .map(({ id, index }) => ({ index, signer: id as NodeId }));
    const measurement = members[0]?.channel.peer.measurement;
    if (first === undefined || measurement === undefined) throw notFounded("it has no members");
    return {
      ...{ version: 1, ...realm, measurement, simulated: cvm.tee.simulated, threshold: group.threshold },
      challenge: jointChallenge(members.map(({ part }) => part)),
      members: [first, ...rest],
      log: { origin, key: cvm.keys.identity, witnesses: logWitnessesOf(group.members) },
    };
  }

  /** Every member of the session proves its machine; all are judged by the same endorsements. */
  async #prove({ group, members }: Session, statement: AuthorityStatement): Promise<Proven> {
    const { verifier } = this.#ports;
    const key = publicKeyOf(signingGroupOf(group));
    const none: Digest = `sha256:${"0".repeat(64)}` as Digest;
    // The form asks for digests of endorsements that nobody has yet; evidence does not bind them.
    const body = { statement: encodeAuthorityStatement(endorsed(statement, members, none)) };
    const given = await Promise.all(
      members.map(async ({ channel, part: { index } }) => {
        const answer = new MessageFields(await channel.request("authority.evidence", body, ASK_MS));
        requireNone(answer.refusals());
        return { index, evidence: decodeEvidence(answer.bytes("evidence")) };
      }),
    );
    const [first] = given;
    if (first === undefined) throw notFounded("it has no members");
    const reportData = authorityReportData(key, statement, first.index);
    const { endorsements } = await verifier.judge(first.evidence, reportData);
    const digest = endorsementsDigest(endorsements);
    return { statement: endorsed(statement, members, digest), given, endorsements };
  }

  async #signOwn(session: Session, { statement, given, endorsements }: Proven): Promise<AuthorityPapers> {
    const { clock, realm } = this.#ports;
    const nowMs = clock.nowMs();
    const unsigned = prepareAuthorityCertificate({
      ...{ key: publicKeyOf(signingGroupOf(session.group)), statement },
      ...{ nowMs, lifetimeMs: AUTHORITY_LIFETIME_MS, serial: authoritySerial(statement.challenge) },
      evidence: Object.fromEntries(given.map(({ index, evidence }) => [index, evidence])),
    });
    const encoded = encodeEndorsements(endorsements);
    const body = {
      parts: session.members.map(({ part }) => partBody(part)),
      statement: encodeAuthorityStatement(statement),
      evidence: given.map(({ index, evidence }) => ({ index, evidence: encodeEvidence(evidence) })),
      ...{ endorsements: encoded, nowMs },
    };
    const signature = await this.#signTogether(session, "authority.sign-own", body, unsigned.toBeSigned);
    const certificate = unsigned.finish(valueOf(signature));
    valueOf(verifyAuthorityCertificate(certificate, { nowMs: clock.nowMs(), realm }));
    return { certificate, endorsements: encoded };
  }

  /** One Ed25519 signature of all members of the session; whoever refuses says why, and who signs wrongly is named. */
  async #signTogether(
    { group, members }: Session,
    method: string,
    body: Cbor,
    message: Uint8Array,
  ): Promise<Verdict<Uint8Array>> {
    const answers = await this.#askShares(members, method, body);
    const [first, ...rest] = answers.flatMap(({ refusals }) => refusals);
    if (first !== undefined) {
      const refusing = members.filter((_member, i) => answers[i]?.share === undefined);
      // What all refuse is wrong; what one refuses may be right.
      if (refusing.length < members.length) this.#setAside(refusing);
      return { ok: false, refusals: [first, ...rest] };
    }
    const shares = answers.map(({ share }) => share as SignatureShare);
    const commitments = members.map(({ part }) => part.commitment);
    const outcome = combineShares(signingGroupOf(group), commitments, message, shares);
    if (outcome.ok) return accept(outcome.signature);
    const liars = members.filter(({ part }) => outcome.culprits.includes(part.index));
    this.#setAside(liars);
    const reason = `No signature came about: ${liars.map(({ id }) => id).join(", ")} gave a share that is not of its key.`;
    return { ok: false, refusals: [{ code: "CERTIFY_SHARE_WRONG", reason }] };
  }

  /** Each member's share of a signature, or why it refuses. @throws {CloisterError} where one does not answer */
  #askShares(members: readonly Member[], method: string, body: Cbor) {
    return Promise.all(
      members.map(async (member) => {
        const { id, channel } = member;
        try {
          const answer = new MessageFields(await channel.request(method, body, ASK_MS));
          const refusals = answer.refusals().map((one) => ({ ...one, reason: `${id}: ${one.reason}` }));
          return { refusals, share: refusals.length > 0 ? undefined : readShare(answer) };
        } catch (error) {
          this.#setAside([member]);
          throw error;
        }
      }),
    );
  }

  /** A member that gives its part and spoils what comes of it must not spoil what the others can sign without it. */
  #setAside(members: readonly Member[]): void {
    const untilMs = this.#ports.clock.nowMs() + ASIDE_MS;
    for (const { id } of members) this.#asideUntilMs.set(id, untilMs);
    const ids = members.map(({ id }) => id);
    this.#ports.log.warn("authority-members-set-aside", { members: ids });
  }

  /** One member's signature for the chain will do: the next is asked only where one cannot give it. */
  async #register({ members }: Session, body: Cbor): Promise<Uint8Array> {
    let last: unknown;
    for (const { channel } of members) {
      try {
        const answer = new MessageFields(await channel.request("authority.register", body, ASK_MS));
        requireNone(answer.refusals());
        return answer.bytes("signature", 65);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  async #endpoints(): Promise<string[]> {
    const { chain, founders } = this.#ports;
    const { state } = await chain.refresh();
    return authorityEndpoints(state, founders);
  }

  async #memberAt(endpoint: string): Promise<Channel> {
    const channel = await this.#lines.to(endpoint);
    const approval = this.#ports.chain.view()?.state.authorities.get(channel.peer.id);
    if (approval?.revoked === false) return channel;
    const reason = `The chain does not approve ${channel.peer.id} as an authority.`;
    throw new CloisterError("AUTHORITY_NOT_APPROVED", reason);
  }
}

interface Proven {
  readonly statement: AuthorityStatement;
  readonly given: readonly { readonly index: number; readonly evidence: Evidence }[];
  readonly endorsements: Endorsements;
}

/** So many must prove their machines that the others could not sign; and so many sign that it is a signature. */
export function provenCount({ threshold, members }: GroupKey): number {
  return Math.max(threshold, members.length - threshold + 1);
}

function endorsed(
  statement: AuthorityStatement,
  session: Session["members"],
  endorsements: Digest,
): AuthorityStatement {
  const proven = new Set(session.map(({ part }) => part.index));
  const [first, ...rest] = statement.members.map((member) =>
    proven.has(member.index) ? { ...member, endorsements } : member,
  );
  return first === undefined ? statement : { ...statement, members: [first, ...rest] };
}

/** Whether the certificate names exactly those that the chain approves. */
function namesAll({ members }: AuthorityStatement, { authorities }: MarketState): boolean {
  const listed = [...authorities].filter(([, { revoked }]) => !revoked).map(([id]) => id);
  return sameNames(
    members.map(({ signer }) => signer),
    listed,
  );
}

function namesGroup({ members }: AuthorityStatement, group: GroupKey): boolean {
  return sameNames(
    members.map(({ signer }) => signer),
    group.members.map(({ id }) => id),
  );
}

function sameNames(some: readonly string[], others: readonly string[]): boolean {
  const names = new Set(some);
  return names.size === others.length && others.every((name) => names.has(name));
}

function operatorBody({ operator, signature }: OperatorWord) {
  return { operator, operatorSignature: signature };
}

/** The first attempt that gave something; undefined once all have given nothing or failed. */
function firstOf<T>(attempts: readonly Promise<T | undefined>[]): Promise<T | undefined> {
  return Promise.any(
    attempts.map(async (attempt) => {
      const value = await attempt;
      if (value === undefined) throw new Error("nothing yet");
      return value;
    }),
  ).catch(() => undefined);
}

function requireNone([first, ...rest]: readonly Refusal[]): void {
  if (first !== undefined) throw CloisterError.fromRefusals([first, ...rest]);
}

function notFounded(why: string): CloisterError {
  return new CloisterError("AUTHORITY_NOT_FOUNDED", `The certification authority cannot sign yet: ${why}.`, {
    hint: "It passes by itself once enough of its members run.",
  });
}
