import { codeOf, digestOf, type Digest, type ObjectStore, type OfferId, type OrderId } from "@cloister/core";
import { collect, readSealed, type SealedReader } from "@cloister/custody";
import type { LoaderPorts, NodeOnChain, OfferOnChain, OrderOnChain, SignedAssignment } from "./ports.ts";

/** Documents are small: a larger object cannot be one. */
const DOCUMENT_BYTES_MAX = 256 * 1024;

/** A sealed object as the store has it, read once to know it and not opened. */
export interface ObjectFacts {
  readonly sizeBytes: number;
  readonly sealedDigest: Digest;
  /** Undefined when it does not begin as an age file does. */
  readonly header: { readonly bytes: Uint8Array; readonly digest: Digest } | undefined;
}

/** One offer of the order with all that belongs to it; what could not be found is undefined. */
export interface InputFacts {
  readonly id: OfferId;
  readonly offer: OfferOnChain | undefined;
  readonly object: ObjectFacts | undefined;
  readonly consentBytes: Uint8Array | undefined;
}

/** Whether this node may speak for the order at all. */
export interface Standing {
  readonly nowMs: number;
  readonly assignment: SignedAssignment;
  readonly signer: string | undefined;
  readonly term: { readonly term: number; readonly leader: string | undefined };
  readonly order: OrderOnChain | undefined;
  readonly node: NodeOnChain | undefined;
}

/** What the order says and what lies in the store for it. */
export interface OrderFacts {
  readonly nowMs: number;
  readonly orderId: OrderId;
  readonly order: OrderOnChain;
  readonly argsBytes: Uint8Array | undefined;
  /** In the order's sequence; compute and storage have no object and are left out. */
  readonly inputs: readonly InputFacts[];
}

export async function gatherStanding(ports: LoaderPorts, assignment: SignedAssignment): Promise<Standing> {
  const [order, node, term] = await Promise.all([
    ports.chain.order(assignment.orderId),
    ports.chain.node(ports.self.node),
    ports.chain.term(),
  ]);
  const signer = ports.chain.assignmentSigner(assignment);
  return { nowMs: ports.clock.nowMs(), assignment, signer, term, order, node };
}

export async function gatherFacts(
  ports: LoaderPorts,
  orderId: OrderId,
  order: OrderOnChain,
): Promise<OrderFacts> {
  const used = order.offers.filter(({ offer }) => offer?.kind !== "compute" && offer?.kind !== "storage");
  const inputs: InputFacts[] = [];
  let bytesLeft = ports.limits.inputBytes;
  for (const { id, offer } of used) {
    const object = offer && (await readObject(ports.store, offer.sealedDigest, bytesLeft));
    bytesLeft -= object?.sizeBytes ?? 0;
    const consentBytes = offer?.consentDigest && (await readDocument(ports.store, offer.consentDigest));
    inputs.push({ id, offer, object, consentBytes });
  }
  const argsBytes = await readDocument(ports.store, order.argsDigest);
  return { nowMs: ports.clock.nowMs(), orderId, order, argsBytes, inputs };
}

/** Reads a whole object for its digests and keeps its header alone. Too large ones are not read. */
async function readObject(
  store: ObjectStore,
  digest: Digest,
  bytesMax: number,
): Promise<ObjectFacts | undefined> {
  const stat = await store.stat(digest);
  if (stat === undefined) return undefined;
  if (stat.sizeBytes > bytesMax)
    return { sizeBytes: stat.sizeBytes, sealedDigest: digest, header: undefined };
  const bytes = await collect(store.get(digest));
  return { sizeBytes: bytes.length, sealedDigest: digestOf(bytes), header: await headerOf(bytes) };
}

async function headerOf(sealed: Uint8Array): Promise<ObjectFacts["header"]> {
  let reader: SealedReader;
  try {
    reader = await readSealed([sealed]);
  } catch (error) {
    if (codeOf(error).startsWith("SEALED_")) return undefined;
    throw error;
  }
  const { headerBytes } = reader.header;
  return { bytes: headerBytes, digest: digestOf(headerBytes) };
}

async function readDocument(store: ObjectStore, digest: Digest): Promise<Uint8Array | undefined> {
  const stat = await store.stat(digest);
  if (stat === undefined || stat.sizeBytes > DOCUMENT_BYTES_MAX) return undefined;
  return collect(store.get(digest));
}
