/** AWS Nitro Enclaves attestation documents ("Verifying the root of trust", AWS Nitro Enclaves guide). */
import { CloisterError } from "@cloister/core";
import { CborClaims, decodeCbor } from "../cbor.ts";
import { parseCose, type CoseMessage } from "../cose.ts";

/** A document, read and judged by nobody yet. */
export interface NitroDocument {
  readonly message: CoseMessage;
  readonly moduleId: string;
  readonly digest: string;
  readonly timestampMs: number;
  /** Platform configuration registers by index, 32, 48 or 64 bytes each. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  readonly certificate: Uint8Array;
  /** Root first, as AWS orders them. */
  readonly caBundle: readonly Uint8Array[];
  readonly publicKey: Uint8Array | undefined;
  readonly userData: Uint8Array | undefined;
  readonly nonce: Uint8Array | undefined;
}

const CODE = "NITRO_DOCUMENT_MALFORMED";
const BUNDLE_MAX = 8;
const PCRS_MAX = 32;
const CERTIFICATE_BYTES_MAX = 4096;

/** Reads a document. @throws {CloisterError} `NITRO_DOCUMENT_MALFORMED`, `COSE_MALFORMED`, `CBOR_MALFORMED` */
export function parseNitroDocument(bytes: Uint8Array): NitroDocument {
  const message = parseCose(bytes);
  if (message.kind !== "sign1") throw malformed("it is not signed");
  const item = decodeCbor(message.payload);
  const claims = new CborClaims(item, CODE);
  const digest = claims.text("digest");
  if (digest !== "SHA384") throw malformed("its registers are not SHA-384");
  const caBundle = claims.array("cabundle");
  const isCertificate = (entry: unknown): entry is Uint8Array =>
    entry instanceof Uint8Array && entry.length > 0 && entry.length <= CERTIFICATE_BYTES_MAX;
  if (caBundle.length === 0 || caBundle.length > BUNDLE_MAX || !caBundle.every(isCertificate)) {
    throw claims.wrong("cabundle");
  }
  const certificate = claims.bytes("certificate");
  if (!isCertificate(certificate)) throw claims.wrong("certificate");
  const optional = (key: string, bytesMax: number): Uint8Array | undefined => {
    if (!claims.has(key) || (item as ReadonlyMap<string, unknown>).get(key) === null) return undefined;
    const value = claims.bytes(key);
    if (value.length > bytesMax) throw claims.wrong(key);
    return value;
  };
  return {
    message,
    moduleId: claims.text("module_id"),
    digest,
    timestampMs: claims.integer("timestamp"),
    pcrs: readPcrs(claims),
    certificate,
    caBundle,
    publicKey: optional("public_key", 1024),
    userData: optional("user_data", 4096),
    nonce: optional("nonce", 4096),
  };
}

function readPcrs(claims: CborClaims): Map<number, Uint8Array> {
  const pcrs = new Map<number, Uint8Array>();
  for (const [index, value] of claims.map("pcrs")) {
    const fits = typeof index === "number" && index >= 0 && index < PCRS_MAX;
    if (!fits || !(value instanceof Uint8Array) || ![32, 48, 64].includes(value.length))
      throw claims.wrong("pcrs");
    pcrs.set(index, value);
  }
  if (!pcrs.has(0)) throw claims.wrong("pcrs");
  return pcrs;
}

function malformed(why: string): CloisterError {
  return new CloisterError(CODE, `The document cannot be read: ${why}.`);
}
