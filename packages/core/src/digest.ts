import { sha256 } from "#crypto";
import { fromHex, toHex } from "./bytes.ts";
import { encodeCanonical } from "./cbor.ts";
import { CloisterError } from "./errors.ts";

declare const digestBrand: unique symbol;

/** A SHA-256 digest as OCI writes it: `sha256:` and 64 lower-case hex digits. */
export type Digest = `sha256:${string}` & { readonly [digestBrand]: true };

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Digests bytes. `sha256sum` prints the same hex. */
export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${toHex(sha256(bytes))}` as Digest;
}

/** Digests a document by its canonical encoding. */
export function digestOfDocument(document: unknown): Digest {
  return digestOf(encodeCanonical(document));
}

/**
 * Reads a digest.
 * @throws {CloisterError} `DIGEST_MALFORMED`
 */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) {
    throw new CloisterError("DIGEST_MALFORMED", `"${text.slice(0, 80)}" is not a digest.`, {
      hint: "A digest is written sha256: followed by 64 lower-case hex digits.",
    });
  }
  return text;
}

/** Tells whether a text is a digest. */
export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

/** The 32 bytes of a digest. */
export function digestBytes(digest: Digest): Uint8Array {
  return fromHex(digest.slice("sha256:".length));
}

/** The digest as `0x…`, the form in which contracts hold it. */
export function digestToHex(digest: Digest): `0x${string}` {
  return `0x${digest.slice("sha256:".length)}`;
}

/** Reads a digest from 32 bytes or from a contract's `bytes32`. */
export function digestFrom(raw: Uint8Array | `0x${string}`): Digest {
  const hex = typeof raw === "string" ? raw.slice(2).toLowerCase() : toHex(raw);
  return parseDigest(`sha256:${hex}`);
}
