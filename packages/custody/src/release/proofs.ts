import { concat, type Entropy } from "@cloister/core";
import {
  decodeScalar,
  encodeScalar,
  hashToScalar,
  multiply,
  Point,
  scalarField,
  scalarFromWide,
} from "./curve.ts";

/**
 * Non-interactive proofs (Fiat-Shamir). Each is challenge and response, 64 bytes, and binds a context,
 * so that a proof made for one ceremony or order is none for another.
 */
export const PROOF_BYTES = 64;
const SECRET_PROOF = "cloister/proof/discrete-logarithm/v1";
const EQUALITY_PROOF = "cloister/proof/equal-logarithms/v1";
const NONCE = "cloister/proof/nonce/v1";
const NONCE_BYTES = 64;

/** Proves knowledge of `secret` behind secret · B (Schnorr). */
export function proveSecret(secret: bigint, context: Uint8Array, entropy: Entropy): Uint8Array {
  const nonce = hedgedNonce(secret, context, entropy);
  const statement = [context, multiply(Point.BASE, secret).toBytes()];
  const challenge = hashToScalar(SECRET_PROOF, ...statement, multiply(Point.BASE, nonce).toBytes());
  return proofOf(challenge, nonce, secret);
}

export function verifySecret(image: Point, context: Uint8Array, proof: Uint8Array): boolean {
  const parts = partsOf(proof);
  if (parts === undefined) return false;
  const [challenge, response] = parts;
  const commitment = multiply(Point.BASE, response).subtract(image.multiplyUnsafe(challenge));
  return challenge === hashToScalar(SECRET_PROOF, context, image.toBytes(), commitment.toBytes());
}

/** Proves that the same secret took B to `secret · B` and `base` to `secret · base` (Chaum and Pedersen 1992). */
export function proveEquality(
  secret: bigint,
  base: Point,
  context: Uint8Array,
  entropy: Entropy,
): Uint8Array {
  const nonce = hedgedNonce(secret, context, entropy);
  const statement = equalityStatement(context, base, multiply(Point.BASE, secret), multiply(base, secret));
  const commitments = [multiply(Point.BASE, nonce).toBytes(), multiply(base, nonce).toBytes()];
  return proofOf(hashToScalar(EQUALITY_PROOF, ...statement, ...commitments), nonce, secret);
}

export function verifyEquality(
  claim: { base: Point; imageOfGenerator: Point; imageOfBase: Point },
  context: Uint8Array,
  proof: Uint8Array,
): boolean {
  const parts = partsOf(proof);
  if (parts === undefined) return false;
  const [challenge, response] = parts;
  const { base, imageOfGenerator, imageOfBase } = claim;
  const first = multiply(Point.BASE, response).subtract(imageOfGenerator.multiplyUnsafe(challenge));
  const second = base.multiplyUnsafe(response).subtract(imageOfBase.multiplyUnsafe(challenge));
  const statement = equalityStatement(context, base, imageOfGenerator, imageOfBase);
  return challenge === hashToScalar(EQUALITY_PROOF, ...statement, first.toBytes(), second.toBytes());
}

function equalityStatement(context: Uint8Array, ...points: readonly Point[]): Uint8Array[] {
  return [context, ...points.map((point) => point.toBytes())];
}

/** Random, and bound to the secret and the statement: a repeated generator output does not repeat a nonce. */
function hedgedNonce(secret: bigint, context: Uint8Array, entropy: Entropy): bigint {
  const random = entropy(NONCE_BYTES);
  const hedge = hashToScalar(NONCE, encodeScalar(secret), context, random);
  return scalarField.add(hedge, scalarFromWide(random));
}

function proofOf(challenge: bigint, nonce: bigint, secret: bigint): Uint8Array {
  const response = scalarField.add(nonce, scalarField.mul(challenge, secret));
  return concat(encodeScalar(challenge), encodeScalar(response));
}

function partsOf(proof: Uint8Array): [challenge: bigint, response: bigint] | undefined {
  if (proof.length !== PROOF_BYTES) return undefined;
  const challenge = decodeScalar(proof.subarray(0, 32));
  const response = decodeScalar(proof.subarray(32));
  return challenge === undefined || response === undefined ? undefined : [challenge, response];
}
