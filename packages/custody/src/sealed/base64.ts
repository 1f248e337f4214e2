import { fromBase64, toBase64 } from "@cloister/core";

/** Base64 without padding (RFC 4648 §4, §3.2). */
export function encodeBase64(bytes: Uint8Array): string {
  return toBase64(bytes).replace(/=+$/, "");
}

/** The bytes of unpadded base64 in its one canonical form (RFC 4648 §3.5), or undefined. */
export function decodeBase64(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+/]*$/.test(text) || text.length % 4 === 1) return undefined;
  const bytes = fromBase64(text);
  return encodeBase64(bytes) === text ? bytes : undefined;
}
