import { encodeCanonical, sha512 } from "@cloister/core";

/**
 * Computes the 64 bytes of report data that evidence must hold: SHA-512 of the canonical array of
 * domain, challenge and bindings. The domain keeps evidence for one purpose from serving another.
 * spec/attestation.md §3
 */
export function bindReportData(
  domain: string,
  challenge: Uint8Array,
  ...bindings: readonly Uint8Array[]
): Uint8Array {
  return sha512(encodeCanonical([domain, challenge, ...bindings]));
}
