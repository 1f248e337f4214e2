import {
  createSimulatedPlatform,
  simulatedTdxQuote,
  simulationEndorsements,
  simulationRoots,
} from "@cloister/attestation";
import {
  certifyReportData,
  TransparencyLog,
  verifyAuthorityCertificate,
  type AuthorityCertificate,
  type Realm,
} from "@cloister/certification";
import {
  codeOf,
  CloisterError,
  decodeCanonical,
  digestFrom,
  ed25519Signer,
  encodeCanonical,
  fromHex,
  parseAddress,
  type Address,
  type Cbor,
  type Digest,
  type NodeId,
  type Tee,
  type Verdict,
} from "@cloister/core";
import { emptyMarket, type Chain } from "@cloister/market";
import { AuthorityMember, logOriginOf } from "../src/authority-member.ts";
import { evidenceOf, measurementOf, type Cvm } from "../src/cvm.ts";
import { GroupIssuer } from "../src/group-issuer.ts";
import { operatorMessage, type Issued } from "../src/issuer.ts";
import { loadOrCreateKeys } from "../src/keys.ts";
import type { Channel, Peer, Transport } from "../src/ports.ts";
import { barredNodes } from "../src/revocation.ts";
import { Verifier } from "../src/verifier.ts";
import { Disk, entropy } from "./key-room.ts";

const CLOCK_RATE = 20;
const QUIET = { info: () => undefined, warn: () => undefined };

export interface Party {
  readonly cvm: Cvm;
  readonly disk: Disk;
  readonly endpoint: string;
  readonly measurement: Digest;
  member?: AuthorityMember | undefined;
}

/** What a test may do to one request on its way. It throws to lose it. */
export type Interfere = (
  to: Party,
  method: string,
  body: Readonly<Record<string, Cbor>>,
) => Readonly<Record<string, Cbor>>;

/**
 * Simulated machines that hold a certification key, and the CVM that brings them together, in one process: real
 * evidence, keys and ceremonies, a chain that the test writes, and a clock that runs faster than the wall's.
 */
export class AuthorityRoom {
  readonly state = emptyMarket();
  readonly parties: Party[] = [];
  readonly realm: Realm;
  interfere: Interfere = (_to, _method, body) => body;
  answered: (from: Party, method: string, answer: Cbor) => Cbor = (_from, _method, answer) => answer;
  issuer!: GroupIssuer;
  log!: TransparencyLog;
  readonly chain: Chain;
  readonly #startMs = performance.now();
  readonly #founders: string[] = [];
  #skewMs = 0;
  #stoppedMs: number | undefined;

  private constructor() {
    const [registry, market, log] = ["c1", "c0", "c2"].map((byte) =>
      parseAddress(`0x${byte.repeat(20)}`),
    ) as [Address, Address, Address];
    this.realm = { chainId: 31_337, contract: market, registry };
    const view = { state: this.state, block: { number: 1, hash: "0x01", timestampMs: 0 } };
    this.chain = {
      deployment: { chainId: 31_337, registry, market, log, fromBlock: 0 },
      refresh: () => Promise.resolve(view),
      view: () => view,
    } as unknown as Chain;
  }

  /** Opens the room with so many founders, and waits until they have founded the authority. */
  static async open(founders: number): Promise<AuthorityRoom> {
    const room = new AuthorityRoom();
    await room.#enter("keeper", "keeper");
    for (let i = 1; i <= founders; i++) await room.#enter(`node-${i}`, "node");
    for (const { cvm, endpoint } of room.members()) {
      room.#founders.push(endpoint);
      room.approve(cvm.keys.settlement, 1);
    }
    await room.startKeeper();
    for (const party of room.members()) await room.start(party);
    await room.until(() => room.issuer.found());
    return room;
  }

  get clock() {
    const passedMs = (): number =>
      Math.round((this.#stoppedMs ?? performance.now() - this.#startMs) * CLOCK_RATE);
    return { nowMs: () => Date.UTC(2026, 10, 21) + passedMs() + this.#skewMs };
  }

  /** Stops everybody's clock: it moves by `later` alone from now on. */
  stopClock(): void {
    this.#stoppedMs = performance.now() - this.#startMs;
  }

  /** Lets it run again, from where it stands. */
  startClock(): void {
    const passedMs = performance.now() - this.#startMs;
    this.#skewMs += Math.round(((this.#stoppedMs ?? passedMs) - passedMs) * CLOCK_RATE);
    this.#stoppedMs = undefined;
  }

  /** Moves everybody's clock. */
  later(durationMs: number): void {
    this.#skewMs += durationMs;
  }

  members(): Party[] {
    return this.parties.slice(1);
  }

  /** Lists where a party listens, as its registration on chain does. */
  list({ cvm, endpoint }: Party): void {
    this.state.nodes.set(cvm.keys.settlement, { endpoint } as never);
  }

  approve(id: NodeId, effectiveAtSeconds: number): void {
    this.state.authorities.set(id, { effectiveAtSeconds, revoked: false });
  }

  certificate(): AuthorityCertificate {
    const der = this.issuer.papers?.certificate ?? new Uint8Array(0);
    const verdict = verifyAuthorityCertificate(der, { nowMs: this.clock.nowMs(), realm: this.realm });
    if (!verdict.ok) throw CloisterError.fromRefusals(verdict.refusals);
    return verdict.value;
  }

  /** Starts the keeper of the log, again too: what it had only in memory is gone. */
  async startKeeper(): Promise<void> {
    const keeper = this.parties[0] as Party;
    const origin = logOriginOf(this.realm);
    this.log = await TransparencyLog.open(
      keeper.disk,
      { name: origin, key: keeper.cvm.keys.identity },
      keeper.cvm.sign,
    );
    this.issuer = await GroupIssuer.open({
      ...{ cvm: keeper.cvm, verifier: this.verifier(), chain: this.chain, records: keeper.disk },
      ...{ clock: this.clock, entropy, log: QUIET, realm: this.realm, origin },
      ...{ transport: this.#transportOf(keeper), founders: this.#founders },
      publish: (certificate) => this.log.append([certificate]),
      consistency: (seen, size) =>
        seen === 0 || seen >= size ? Promise.resolve([]) : this.log.consistency(seen, size),
    });
  }

  async start(party: Party): Promise<void> {
    party.member = await AuthorityMember.open({
      ...{ cvm: party.cvm, verifier: this.verifier(), chain: this.chain, clock: this.clock, entropy },
      timers: { wait: () => new Promise((resolve) => setTimeout(resolve, 5)) },
      ...{ log: QUIET, realm: this.realm, transport: this.#transportOf(party) },
      ...{ endpoint: party.endpoint, founders: this.#founders },
      met: () => undefined,
      peerKeys: (id) => this.parties.find(({ cvm }) => cvm.keys.settlement === id)?.cvm.keys,
    });
    void party.member.run();
  }

  stop(party: Party): void {
    party.member?.stop();
    party.member = undefined;
  }

  close(): void {
    for (const party of this.parties) this.stop(party);
    this.issuer.close();
  }

  /** One node's whole way to a certificate, as `Certification` goes it. */
  async certify(
    asker: Party,
    words: { operator?: Address; signed?: Address } = {},
  ): Promise<Verdict<Issued>> {
    const { cvm } = asker;
    const { identity, settlement, wrap } = cvm.keys;
    const keys = { identity, settlement, wrap };
    const challenge = await this.issuer.challenge();
    const evidence = await evidenceOf(cvm, certifyReportData(challenge, keys));
    const operator = words.operator ?? parseAddress(`0x${"0e".repeat(20)}`);
    const signature = cvm.sign(operatorMessage(challenge, words.signed ?? operator));
    return this.issuer.issue({ keys, challenge, evidence }, { operator, signature });
  }

  /** Tries until it works, for some seconds. */
  async until<T>(attempt: () => Promise<T> | T): Promise<T> {
    for (const endMs = performance.now() + 15_000; ;) {
      try {
        return await attempt();
      } catch (error) {
        if (performance.now() > endMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  /** Adds a machine that runs such software. Only what the chain approves gets in anywhere. */
  async #enter(endpoint: string, software: string, approved = true): Promise<Party> {
    const disk = new Disk();
    const keys = await loadOrCreateKeys(disk, entropy);
    const cvm: Cvm = { keys, sign: ed25519Signer(keys.identitySeed), sealed: disk, tee: teeOf(software) };
    const measurement = await measurementOf(cvm, this.verifier([]));
    const hex = `0x${measurement.slice("sha256:".length)}`;
    if (approved) this.state.measurements.set(hex as never, { effectiveAtSeconds: 1, revoked: false });
    const party: Party = { cvm, disk, endpoint, measurement };
    this.parties.push(party);
    return party;
  }

  enter(endpoint: string, software: string, approved = true): Promise<Party> {
    return this.#enter(endpoint, software, approved);
  }

  /** What the machines of the room judge by. */
  verifier(only?: readonly Digest[]): Verifier {
    const approved = () =>
      [...this.state.measurements]
        .filter(([, { revoked }]) => !revoked)
        .map(([hex]) => ({ measurement: digestFrom(fromHex(hex)) }));
    return new Verifier({
      roots: simulationRoots,
      policy: { tees: ["tdx"], tcbStatuses: ["UpToDate"], simulated: "require" },
      clock: this.clock,
      source: { endorsementsFor: (_evidence, nowMs) => Promise.resolve(simulationEndorsements(nowMs)) },
      barred: () => barredNodes(this.state),
      approved: only === undefined ? approved : () => only.map((measurement) => ({ measurement })),
    });
  }

  #transportOf(self: Party): Transport {
    return {
      connect: (endpoint) => {
        const to = this.parties.find((party) => party.endpoint === endpoint);
        if (to?.member === undefined) {
          return Promise.reject(new CloisterError("PEER_UNREACHABLE", `${endpoint} does not answer.`));
        }
        return Promise.resolve(this.#channel(self, to));
      },
    } as Transport;
  }

  #channel(self: Party, to: Party): Channel {
    const { member } = to;
    let close = (): void => undefined;
    const closed = new Promise<void>((resolve) => (close = resolve));
    const request = async (method: string, body: Cbor): Promise<Cbor> => {
      if (to.member !== member || member === undefined) {
        close();
        throw new CloisterError("PEER_UNREACHABLE", `${to.endpoint} is gone.`);
      }
      const sent = this.interfere(to, method, decodeCanonical(encodeCanonical(body)) as Record<string, Cbor>);
      try {
        const answer = (await member.answer(peerOf(self), method, sent)) ?? null;
        return this.answered(to, method, decodeCanonical(encodeCanonical(answer)));
      } catch (error) {
        throw new CloisterError(codeOf(error), (error as Error).message);
      }
    };
    const notify = (method: string, body: Cbor): void => void request(method, body).catch(() => undefined);
    return { peer: peerOf(to), request, notify, close, closed, refusal: undefined };
  }
}

function peerOf({ cvm, measurement }: Party): Peer {
  const { settlement: id, identity, wrap } = cvm.keys;
  const machine = { cpus: 1, memoryBytes: 1, gpus: 0 };
  const tcbStatus = "UpToDate";
  return { id, identity, wrap, measurement, tee: "tdx", simulated: true, machine, tcbStatus, attestedMs: 0 };
}

function teeOf(software: string): Tee {
  const platform = createSimulatedPlatform(entropy(32));
  const mrTd = new Uint8Array(48).fill(software.length);
  const zero = new Uint8Array(48);
  return {
    kind: "tdx",
    simulated: true,
    evidence: (reportData) =>
      Promise.resolve(simulatedTdxQuote(platform, { mrTd, rtmrs: [zero, zero, zero, zero], reportData })),
    sealingKey: () => Promise.resolve(entropy(32)),
  };
}
