import { createHash } from "node:crypto";
import {
  accept,
  digestFrom,
  digestOf,
  ed25519PublicKey,
  ed25519Signer,
  refuse,
  toHex,
  utf8,
  CloisterError,
  type Address,
  type Digest,
  type Hex32,
  type ObjectStore,
  type OfferId,
  type OrderId,
  type RecordStore,
} from "@cloister/core";
import {
  collect,
  encodeConsent,
  generateIdentity,
  open,
  parseHeader,
  seal,
  unwrapFileKey,
  recipientDigest,
  type ConsentPolicy,
  type X25519Identity,
} from "@cloister/custody";
import {
  encodeArguments,
  unpackTar,
  type EngineFile,
  type EngineJob,
  type EngineResult,
  type KeyRequest,
  type LoaderPorts,
  type OfferKind,
  type OfferOnChain,
  type OrderArguments,
  type OrderOnChain,
  type Sandbox,
  type SignedAssignment,
} from "../../src/index.ts";

export const NOW_MS = 1_800_000_000_000;
const NODE = hex<Address>("node", 20);
const LEADER = hex<Address>("leader", 20);
const measurement = digestOf(utf8("measurement"));
const market = { chainId: 31_337, contract: hex<Address>("market", 20) };
const identitySeed = new Uint8Array(32).fill(7);

/** What an owner brings into the world. */
export interface OwnedObject {
  readonly kind: OfferKind;
  readonly content: Uint8Array;
  readonly consent?: Partial<ConsentPolicy>;
}

/** A chain, a store, a key-release group and a CVM in memory; tests break one part at a time. */
export interface World {
  readonly ports: LoaderPorts;
  readonly assignment: SignedAssignment;
  readonly orderId: OrderId;
  readonly objects: Map<Digest, Uint8Array>;
  readonly records: Map<string, Uint8Array>;
  readonly statements: Uint8Array[];
  /** What was asked of the key-release group: empty means that nothing could be opened. */
  readonly keyRequests: KeyRequest[];
  /** Secrets that were handed out, to see whether they were wiped. */
  readonly fileKeys: Uint8Array[];
  readonly client: X25519Identity;
  readonly identity: Uint8Array;
  chain: {
    order: OrderOnChain | undefined;
    isActive: boolean;
    isApproved: boolean;
    term: number;
    signer: Address;
  };
  nowMs: number;
  /** Opens the result as the client would. */
  result(outputDigest: Digest): Promise<EngineFile[]>;
}

export async function createWorld(
  objects: readonly OwnedObject[],
  options: { sandbox?: Sandbox; args?: Partial<OrderArguments>; ports?: Partial<LoaderPorts> } = {},
): Promise<World> {
  const entropy = seededEntropy("world");
  const [group, client] = [generateIdentity(entropy), generateIdentity(entropy)];
  const store = memoryStore();
  const engineDigest = digestOf(objects[0]?.content ?? new Uint8Array());
  const offers = [];
  for (const [i, object] of objects.entries()) {
    const consent: ConsentPolicy = { ...consentTo(engineDigest), ...object.consent };
    offers.push(await publish(object, consent, group, store.port, entropy, `offer-${i}`));
  }
  const args: OrderArguments = {
    version: 1,
    purpose: "train",
    recipient: client.recipient.text,
    outputBytesMax: 1024 * 1024,
    ...options.args,
  };
  const argsBytes = encodeArguments(args);
  await store.port.put(once(argsBytes));
  const world: World = {
    ...{ objects: store.objects, records: new Map(), statements: [], keyRequests: [], fileKeys: [] },
    orderId: hex<OrderId>("order", 32),
    assignment: { orderId: hex("order", 32), node: NODE, term: 3, epoch: 2, signature: new Uint8Array(65) },
    chain: {
      order: orderOnChain(offers, digestOf(argsBytes), recipientDigest(args.recipient)),
      ...{ isActive: true, isApproved: true, term: 3, signer: LEADER },
    },
    ...{ nowMs: NOW_MS, client, identity: ed25519PublicKey(identitySeed) },
    result: async (digest) => unpackTar(await collect(await open(store.port.get(digest), [client]))),
    ports: undefined as never,
  };
  const ports = portsOf(world, store.port, group, options.sandbox ?? echoSandbox());
  return Object.assign(world, { ports: { ...ports, ...options.ports } });
}

function consentTo(engine: Digest): ConsentPolicy {
  return {
    version: 1,
    engines: [engine],
    purposes: ["train"],
    runsMax: 3,
    outputBytesMax: 8 * 1024 * 1024,
    egress: "none",
  };
}

async function publish(
  { kind, content }: OwnedObject,
  consent: ConsentPolicy,
  group: X25519Identity,
  store: ObjectStore,
  entropy: (length: number) => Uint8Array,
  name: string,
): Promise<{ id: OfferId; offer: OfferOnChain }> {
  const sealing = seal([content], [group.recipient], entropy);
  await store.put(sealing);
  const consentDigest = (await store.put(once(encodeConsent(consent)))).digest;
  const { contentDigest, sealedDigest, headerDigest } = sealing.digests();
  const digests = { contentDigest, sealedDigest, headerDigest, consentDigest };
  const offer = { owner: hex<Address>(name, 20), kind, ...digests, runsBefore: 0, revokedAtMs: undefined };
  return { id: hex<OfferId>(name, 32), offer };
}

function orderOnChain(offers: OrderOnChain["offers"], argsDigest: Digest, recipient: Digest): OrderOnChain {
  return {
    isOpen: true,
    client: hex("client", 20),
    salt: hex("salt", 32),
    openedAtMs: NOW_MS - 10_000,
    deadlineMs: NOW_MS + 600_000,
    argsDigest,
    recipientDigest: recipient,
    offers,
  };
}

function portsOf(world: World, store: ObjectStore, group: X25519Identity, sandbox: Sandbox): LoaderPorts {
  const sign = ed25519Signer(identitySeed);
  const certificate = { notBeforeMs: NOW_MS - 1000, notAfterMs: NOW_MS + 3_600_000 };
  return {
    self: { node: NODE, identity: world.identity, sign, tee: "tdx", measurement, certificate },
    limits: {
      ...{ runMs: 30_000, memoryBytes: 64 * 1024 * 1024, outputBytes: 4 * 1024 * 1024 },
      ...{ outputFiles: 16, inputBytes: 16 * 1024 * 1024, settleMs: 10_000 },
    },
    chain: {
      market,
      order: async (id) => (id === world.orderId ? world.chain.order : undefined),
      node: async () => ({
        isActive: world.chain.isActive,
        measurement,
        isMeasurementApproved: world.chain.isApproved,
      }),
      term: async () => ({ term: world.chain.term, leader: LEADER }),
      assignmentSigner: () => world.chain.signer,
    },
    ...{ store, sandbox, records: recordsOver(world.records) },
    release: {
      release: async (request) => {
        world.keyRequests.push(request);
        const fileKey = unwrapFileKey(parseHeader(request.headerBytes), [group]);
        world.fileKeys.push(fileKey);
        return accept(fileKey);
      },
    },
    attester: { attest: async (reportData) => evidenceOver(reportData) },
    statements: {
      append: async (statement) => {
        if (!world.statements.some((known) => toHex(known) === toHex(statement)))
          world.statements.push(statement);
        return utf8("receipt");
      },
    },
    clock: { nowMs: () => world.nowMs++ },
    entropy: seededEntropy("loader"),
    log: { info: () => undefined, warn: () => undefined },
  };
}

function evidenceOver(reportData: Uint8Array): Awaited<ReturnType<LoaderPorts["attester"]["attest"]>> {
  const endorsements = utf8("endorsements");
  return {
    summary: {
      tee: "tdx",
      evidence: digestOf(reportData),
      endorsements: digestOf(endorsements),
      measurement,
      tcbStatus: "UpToDate",
      simulated: true,
    },
    evidence: reportData,
    endorsements,
  };
}

/** Gives each input back as an output, after its name in capitals. */
export function echoSandbox(): Sandbox & { readonly jobs: EngineJob[] } {
  const jobs: EngineJob[] = [];
  return {
    kind: "echo",
    jobs,
    run: async (job) => {
      jobs.push({ ...job, inputs: job.inputs.map(({ name, bytes }) => ({ name, bytes: bytes.slice() })) });
      return finished(
        job.inputs.map(({ name, bytes }) => ({ name: name.toUpperCase(), bytes: bytes.slice() })),
      );
    },
  };
}

export function finished(outputs: readonly EngineFile[]): EngineResult {
  return { ok: true, outputs, logs: { stdout: new Uint8Array(), stderr: new Uint8Array() }, memoryBytes: 0 };
}

/** A sandbox in which every engine fails alike. */
export function failingSandbox(failure: { code: string; exitCode?: number }): Sandbox {
  const logs = { stdout: utf8("secret"), stderr: utf8("secret") };
  const result = { ok: false, reason: "It failed.", exitCode: 0, logs, ...failure } as EngineResult;
  return { kind: "failing", run: async () => result };
}

export function refusingRelease(code: string): LoaderPorts["release"] {
  return { release: async () => refuse(code, "The member refuses.") };
}

/** Changes one object in the store behind everybody's back: the untrusted store's privilege. */
export function tamper(world: World, digest: Digest, change: (bytes: Uint8Array) => Uint8Array): void {
  world.objects.set(digest, change(Uint8Array.from(world.objects.get(digest) ?? new Uint8Array())));
}

export function offerAt(world: World, position: number): OfferOnChain {
  const offer = world.chain.order?.offers[position]?.offer;
  if (offer === undefined) throw new Error(`There is no offer ${position} in this world.`);
  return offer;
}

/** Changes one offer of the order, as if it had been published so. */
export function changeOffer(world: World, position: number, change: Partial<OfferOnChain>): void {
  const { order } = world.chain;
  if (order === undefined) return;
  const changed = { ...offerAt(world, position), ...change };
  const offers = order.offers.map((entry, i) => (i === position ? { id: entry.id, offer: changed } : entry));
  world.chain.order = { ...order, offers };
}

function memoryStore(): { port: ObjectStore; objects: Map<Digest, Uint8Array> } {
  const objects = new Map<Digest, Uint8Array>();
  const port: ObjectStore = {
    name: "memory",
    put: async (object) => {
      const bytes = await collect(object);
      const digest = digestOf(bytes);
      objects.set(digest, bytes);
      return { digest, sizeBytes: bytes.length };
    },
    async *get(digest) {
      const bytes = objects.get(digest);
      if (bytes === undefined) throw new CloisterError("OBJECT_NOT_FOUND", "No such object.");
      yield bytes.slice();
    },
    stat: async (digest) => {
      const bytes = objects.get(digest);
      return bytes && { sizeBytes: bytes.length };
    },
    async *list() {
      yield* objects.keys();
    },
    delete: async (digest) => void objects.delete(digest),
  };
  return { port, objects };
}

export function recordsOver(records: Map<string, Uint8Array>): RecordStore {
  return {
    read: async (name) => records.get(name),
    write: async (name, record) => void records.set(name, record.slice()),
    delete: async (name) => void records.delete(name),
    list: async (prefix) => [...records.keys()].filter((name) => name.startsWith(prefix)).toSorted(),
  };
}

export async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function seededEntropy(seed: string): (length: number) => Uint8Array {
  let counter = 0;
  return (length) =>
    new Uint8Array(createHash("shake256", { outputLength: length }).update(`${seed}${counter++}`).digest());
}

/** A recognizable value of `length` bytes, as contracts write it. */
function hex<T extends Address | Hex32>(name: string, length: number): T {
  return `0x${toHex(createHash("sha256").update(name).digest().subarray(0, length))}` as T;
}

export const otherDigest: Digest = digestFrom(new Uint8Array(32).fill(9));
