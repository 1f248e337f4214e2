import {
  CloisterError,
  decodeCanonical,
  digestOf,
  encodeCanonical,
  fromHex,
  openSign1,
  parseAddress,
  parseHex32,
  sha256,
  signSign1,
  toHex,
  verifySign1,
  equalBytes,
  type Address,
  type Digest,
  type NodeId,
  type OrderId,
  type Refusal,
} from "@cloister/core";

/** Domain of the signature: nothing else that a CVM signs has this content type. */
export const REFUSAL_TYPE = "application/vnd.cloister.order-refusal+cbor";

const BYTES_MAX = 65_536;
const REASONS_MAX = 64;
const REASON_LENGTH_MAX = 300;
const CODE = /^[A-Z][A-Z0-9_]{0,79}$/;

/**
 * Why a node that was assigned an order did not run it. Nothing was opened: it rests on no evidence
 * and counts for a refund alone. spec/loader.md §5
 */
export interface OrderRefusal {
  readonly version: 1;
  readonly chainId: number;
  readonly contract: Address;
  readonly orderId: OrderId;
  readonly node: NodeId;
  readonly term: number;
  readonly epoch: number;
  readonly refusedAtMs: number;
  readonly refusals: readonly [Refusal, ...Refusal[]];
}

/** A refusal as it was signed; who signed it is for the caller to judge. */
export interface SignedOrderRefusal {
  readonly refusal: OrderRefusal;
  /** SHA-256 of the node's identity key. */
  readonly kid: Uint8Array;
  readonly bytes: Uint8Array;
  readonly digest: Digest;
}

/** Signs a refusal as the CVM that made it. */
export function signOrderRefusal(
  refusal: OrderRefusal,
  signer: { readonly identity: Uint8Array; readonly sign: (message: Uint8Array) => Uint8Array },
): SignedOrderRefusal {
  const payload = encodeCanonical({
    ...refusal,
    contract: fromHex(refusal.contract),
    orderId: fromHex(refusal.orderId),
    node: fromHex(refusal.node),
    refusals: refusal.refusals.slice(0, REASONS_MAX).map(({ code, reason }) => ({
      code,
      reason: reason.slice(0, REASON_LENGTH_MAX),
    })),
  });
  const bytes = signSign1({
    contentType: REFUSAL_TYPE,
    kid: sha256(signer.identity),
    payload,
    sign: signer.sign,
  });
  return openOrderRefusal(bytes);
}

/**
 * Opens a signed refusal without judging its signature.
 * @throws {CloisterError} `REFUSAL_MALFORMED`, `COSE_MALFORMED`
 */
export function openOrderRefusal(bytes: Uint8Array): SignedOrderRefusal {
  if (bytes.length > BYTES_MAX) throw malformed("it is too long");
  const statement = openSign1(bytes);
  if (statement.contentType !== REFUSAL_TYPE) throw malformed("it is a signed statement of another kind");
  const document = decodeCanonical(statement.payload) as unknown as Readonly<Record<string, unknown>>;
  return { refusal: readRefusal(document), kid: statement.kid, bytes, digest: digestOf(bytes) };
}

/** Tells whether the CVM with this identity key (Ed25519, 32 bytes) signed the refusal. */
export function verifyOrderRefusal(signed: SignedOrderRefusal, identity: Uint8Array): boolean {
  return (
    equalBytes(signed.kid, sha256(identity)) && verifySign1(openSign1(signed.bytes), identity, REFUSAL_TYPE)
  );
}

function readRefusal(document: Readonly<Record<string, unknown>>): OrderRefusal {
  const { version, contract, orderId, node, refusals } = document;
  if (version !== 1) throw malformed("its version is unknown");
  if (!(contract instanceof Uint8Array && orderId instanceof Uint8Array && node instanceof Uint8Array)) {
    throw malformed("an id is missing");
  }
  const [first, ...rest] = Array.isArray(refusals) ? refusals.map(readReason) : [];
  if (first === undefined || rest.length >= REASONS_MAX) throw malformed("it gives no reason, or too many");
  return {
    version,
    chainId: readCount(document["chainId"]),
    contract: parseAddress(`0x${toHex(contract)}`),
    orderId: parseHex32(`0x${toHex(orderId)}`),
    node: parseAddress(`0x${toHex(node)}`),
    term: readCount(document["term"]),
    epoch: readCount(document["epoch"]),
    refusedAtMs: readCount(document["refusedAtMs"]),
    refusals: [first, ...rest],
  };
}

function readReason(value: unknown): Refusal {
  const { code, reason } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof code !== "string" || !CODE.test(code)) throw malformed("a reason has no code");
  if (typeof reason !== "string" || reason.length > REASON_LENGTH_MAX) throw malformed("a reason is no text");
  return { code, reason };
}

function readCount(value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw malformed("a number is missing");
}

function malformed(why: string): CloisterError {
  return new CloisterError("REFUSAL_MALFORMED", `The statement is not an order refusal: ${why}.`);
}
