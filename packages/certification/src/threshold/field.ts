import { ed25519 } from "@noble/curves/ed25519.js";
import { CloisterError, concat, encodeCanonical, sha512, type Entropy } from "@cloister/core";

/** Arithmetic in the prime-order group of Ed25519. Scalars are bigints below the order, points are noble's. */

export const { Point } = ed25519;
export const { Fn } = Point;
export type GroupPoint = InstanceType<typeof Point>;

/** Draws a scalar that is not zero: 64 bytes reduced, so that the bias is below 2^-250. */
export function randomScalar(entropy: Entropy): bigint {
  for (;;) {
    const scalar = reduce(entropy(64));
    if (scalar !== 0n) return scalar;
  }
}

/** Hashes a list into a scalar, domain first. */
export function hashToScalar(domain: string, ...parts: readonly Uint8Array[]): bigint {
  return reduce(sha512(encodeCanonical([domain, ...parts])));
}

/** Reads a point of the prime-order group that is not the identity. @throws {CloisterError} `THRESHOLD_POINT_INVALID` */
export function readPoint(bytes: Uint8Array): GroupPoint {
  try {
    const point = Point.fromBytes(bytes);
    if (!point.is0() && point.isTorsionFree()) return point;
  } catch {
    // The sentence below says the same for every way in which bytes are no point.
  }
  throw new CloisterError("THRESHOLD_POINT_INVALID", "The bytes are not a point of the prime-order group.");
}

/** Reads a scalar below the order. @throws {CloisterError} `THRESHOLD_SCALAR_INVALID` */
export function readScalar(bytes: Uint8Array): bigint {
  try {
    return Fn.fromBytes(bytes);
  } catch {
    throw new CloisterError(
      "THRESHOLD_SCALAR_INVALID",
      "The bytes are not a number below the group's order.",
    );
  }
}

/** The value of a polynomial, lowest coefficient first. */
export function evaluate(coefficients: readonly bigint[], at: number): bigint {
  return coefficients.reduceRight((sum, coefficient) => Fn.add(Fn.mul(sum, BigInt(at)), coefficient), 0n);
}

/** The same in the exponent: what a share at this index times the base point must be. */
export function evaluateCommitment(commitment: readonly GroupPoint[], at: number): GroupPoint {
  return commitment.reduceRight((sum, point) => sum.multiplyUnsafe(BigInt(at)).add(point), Point.ZERO);
}

/** The weight of one index when a polynomial is interpolated at zero from these indexes. */
export function lagrange(indexes: readonly number[], index: number): bigint {
  let [above, below] = [1n, 1n];
  for (const other of indexes) {
    if (other === index) continue;
    above = Fn.mul(above, BigInt(other));
    below = Fn.mul(below, Fn.create(BigInt(other - index)));
  }
  return Fn.mul(above, Fn.inv(below));
}

/** Proves knowledge of the scalar behind a point (Schnorr), for one session and one dealer. */
export function proveKnowledge(secret: bigint, context: readonly Uint8Array[], entropy: Entropy): Uint8Array {
  const nonce = randomScalar(entropy);
  const commitment = Point.BASE.multiply(nonce).toBytes();
  const challenge = knowledgeChallenge(Point.BASE.multiply(secret), commitment, context);
  return concat(commitment, Fn.toBytes(Fn.add(nonce, Fn.mul(challenge, secret))));
}

/** Tells whether such a proof holds. */
export function knows(point: GroupPoint, context: readonly Uint8Array[], proof: Uint8Array): boolean {
  try {
    const commitment = readPoint(proof.subarray(0, 32));
    const answer = readScalar(proof.subarray(32));
    const challenge = knowledgeChallenge(point, commitment.toBytes(), context);
    return Point.BASE.multiplyUnsafe(answer).equals(commitment.add(point.multiplyUnsafe(challenge)));
  } catch {
    return false;
  }
}

function knowledgeChallenge(
  point: GroupPoint,
  commitment: Uint8Array,
  context: readonly Uint8Array[],
): bigint {
  return hashToScalar("cloister/knowledge/v1", ...context, point.toBytes(), commitment);
}

function reduce(wide: Uint8Array): bigint {
  let value = 0n;
  for (const byte of wide.toReversed()) value = (value << 8n) | BigInt(byte);
  return Fn.create(value);
}
