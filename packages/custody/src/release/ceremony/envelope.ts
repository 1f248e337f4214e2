import {
  decodeCanonical,
  digestBytes,
  digestOf,
  ed25519Verify,
  encodeCanonical,
  type Digest,
} from "@cloister/core";
import { dealersOf, type CeremonyPlan } from "./plan.ts";

const DOMAIN = "cloister/ceremony/v1";
export const MESSAGE_BYTES_MAX = 128 * 1024;

export type MessageKind = "deal" | "ballot";

/** A signed message of a ceremony. Anyone may pass it on: it proves its sender by itself. */
export interface Envelope {
  readonly kind: MessageKind;
  readonly sender: string;
  readonly body: Uint8Array;
  /** Over the body's digest, so that a third party can show it without the body. */
  readonly signature: Uint8Array;
}

/** Signs and encodes a message. */
export function writeEnvelope(
  ceremony: Digest,
  kind: MessageKind,
  sender: string,
  body: Uint8Array,
  sign: (message: Uint8Array) => Uint8Array,
): Uint8Array {
  const signature = sign(signedBytes(ceremony, kind, digestOf(body)));
  return encodeCanonical([kind, sender, body, signature]);
}

/** Reads a message and checks its sender's signature; a text says why it is not one of this ceremony. */
export function readEnvelope(plan: CeremonyPlan, ceremony: Digest, bytes: Uint8Array): Envelope | string {
  if (bytes.length > MESSAGE_BYTES_MAX) return `it is larger than ${MESSAGE_BYTES_MAX} bytes`;
  let parts: unknown;
  try {
    parts = decodeCanonical(bytes);
  } catch {
    return "it is not canonical CBOR";
  }
  if (!Array.isArray(parts) || parts.length !== 4) return "it is not an array of four";
  const [kind, sender, body, signature] = parts as unknown[];
  if ((kind !== "deal" && kind !== "ballot") || typeof sender !== "string") return "its kind is unknown";
  if (!(body instanceof Uint8Array && signature instanceof Uint8Array)) return "body or signature is missing";
  if (!isSignedBy(plan, ceremony, kind, sender, digestOf(body), signature)) {
    return "its sender does not take part, or did not sign it for this ceremony";
  }
  return { kind, sender, body, signature };
}

/** Tells whether a participant signed a body of this digest. */
export function isSignedBy(
  plan: CeremonyPlan,
  ceremony: Digest,
  kind: MessageKind,
  sender: string,
  bodyDigest: Digest,
  signature: Uint8Array,
): boolean {
  const senders = kind === "deal" ? dealersOf(plan) : plan.members;
  const key = senders.find((participant) => participant.id === sender)?.identityKey;
  return key !== undefined && ed25519Verify(key, signedBytes(ceremony, kind, bodyDigest), signature);
}

function signedBytes(ceremony: Digest, kind: MessageKind, bodyDigest: Digest): Uint8Array {
  return encodeCanonical([DOMAIN, kind, digestBytes(ceremony), digestBytes(bodyDigest)]);
}
