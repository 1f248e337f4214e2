/**
 * edwards25519, and the map between it and the u-coordinates of X25519 (RFC 7748 §4.1).
 * A group secret is a scalar s below the group order; the group's age recipient is the u-coordinate of s·B.
 * For an ephemeral share E, X25519(e, u(s·B)) = u(s·(e·B)), and u forgets the sign: so whoever computes s·E
 * from any lift of E's u-coordinate gets the shared secret that the sender had.
 */
import { encodeCanonical, sha512 } from "@cloister/core";
import { ed25519 } from "@noble/curves/ed25519.js";

export const Point = ed25519.Point;
export type Point = InstanceType<typeof Point>;

const SCALAR_BYTES = 32;
export const POINT_BYTES = 32;
const fields = { p: Point.Fp, order: Point.Fn };

/** A scalar modulo the group order. */
export const scalarField = fields.order;

/** A scalar from bytes that are wider than the order, so that it is uniform. */
export function scalarFromWide(bytes: Uint8Array): bigint {
  return scalarField.create(fromLittleEndian(bytes));
}

/** A scalar from its 32 bytes, or undefined when it is not below the order. */
export function decodeScalar(bytes: Uint8Array): bigint | undefined {
  if (bytes.length !== SCALAR_BYTES) return undefined;
  const scalar = fromLittleEndian(bytes);
  return scalar < scalarField.ORDER ? scalar : undefined;
}

/** 32 bytes, little-endian. */
export function encodeScalar(scalar: bigint): Uint8Array {
  return toLittleEndian(scalar);
}

/** A scalar that depends on the domain and every part: a Fiat-Shamir challenge. */
export function hashToScalar(domain: string, ...parts: readonly (Uint8Array | string | number)[]): bigint {
  return scalarFromWide(sha512(encodeCanonical([domain, ...parts])));
}

/** scalar · point, also for zero. */
export function multiply(point: Point, scalar: bigint): Point {
  return scalar === 0n ? Point.ZERO : point.multiply(scalar);
}

/** A point of the prime-order group other than the identity, or undefined. */
export function decodePoint(bytes: Uint8Array): Point | undefined {
  if (bytes.length !== POINT_BYTES) return undefined;
  try {
    const point = Point.fromBytes(bytes);
    return !point.is0() && point.isTorsionFree() ? point : undefined;
  } catch {
    return undefined;
  }
}

/**
 * A point with this u-coordinate; of the two, the one whose x is even. Undefined for a point on the twist,
 * of small order, or outside the prime-order group: an honest X25519 share is never one of these.
 */
export function liftMontgomery(u: Uint8Array): Point | undefined {
  if (u.length !== POINT_BYTES) return undefined;
  // RFC 7748 §5: the top bit is masked, other non-canonical values are reduced.
  const masked = Uint8Array.from(u);
  masked[31] = (masked[31] as number) & 0x7f;
  const value = fields.p.create(fromLittleEndian(masked));
  const denominator = fields.p.add(value, 1n);
  if (denominator === 0n) return undefined;
  const y = fields.p.mul(fields.p.sub(value, 1n), fields.p.inv(denominator));
  return decodePoint(toLittleEndian(y));
}

/** The u-coordinate of a point, 32 bytes: what X25519 works on. */
export function toMontgomery(point: Point): Uint8Array {
  const { y } = point.toAffine();
  return toLittleEndian(fields.p.mul(fields.p.add(1n, y), fields.p.inv(fields.p.sub(1n, y))));
}

/** The scalar with which an X25519 secret acts on the prime-order group (RFC 7748 §5, clamped), so that B is lifted alike. */
export function scalarOfX25519(secret: Uint8Array): bigint {
  const clamped = Uint8Array.from(secret);
  clamped[0] = (clamped[0] as number) & 248;
  clamped[31] = ((clamped[31] as number) & 127) | 64;
  const scalar = scalarField.create(fromLittleEndian(clamped));
  const isEven = (multiply(Point.BASE, scalar).toAffine().x & 1n) === 0n;
  return isEven ? scalar : scalarField.neg(scalar);
}

/** Σ λ_i over the given indices such that f(0) = Σ λ_i f(i): Lagrange's coefficients at zero. */
export function lagrangeAtZero(indices: readonly number[]): Map<number, bigint> {
  const at = (index: number) => BigInt(index);
  return new Map(
    indices.map((i) => {
      let numerator = 1n;
      let denominator = 1n;
      for (const j of indices) {
        if (j === i) continue;
        numerator = scalarField.mul(numerator, at(j));
        denominator = scalarField.mul(denominator, scalarField.create(at(j) - at(i)));
      }
      return [i, scalarField.mul(numerator, scalarField.inv(denominator))];
    }),
  );
}

/** A polynomial at an index, by Horner's rule. */
export function evaluate(coefficients: readonly bigint[], index: number): bigint {
  return coefficients.reduceRight(
    (sum, coefficient) => scalarField.create(sum * BigInt(index) + coefficient),
    0n,
  );
}

/** A committed polynomial at an index: the public point of that index's share. */
export function evaluateCommitments(commitments: readonly Point[], index: number): Point {
  return commitments.reduceRight(
    (sum, commitment) => sum.multiplyUnsafe(BigInt(index)).add(commitment),
    Point.ZERO,
  );
}

function fromLittleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] as number);
  return value;
}

function toLittleEndian(value: bigint): Uint8Array {
  const bytes = new Uint8Array(SCALAR_BYTES);
  for (let i = 0, rest = value; i < SCALAR_BYTES; i++, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  return bytes;
}
