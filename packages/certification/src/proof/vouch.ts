import {
  digestBytes,
  encodeCanonical,
  fromHex,
  openSign1,
  sha256,
  signSign1,
  verifySign1,
  type Digest,
  type Hex32,
} from "@cloister/core";
import { Shape } from "../shape.ts";

/** Domain of a CVM's word about a block. */
const BLOCK_VOUCH_TYPE = "application/vnd.cloister.block+cbor";
const VOUCH_BYTES_MAX = 512;
const shape = new Shape("BLOCK_VOUCH_MALFORMED", "word about a block");

/** What a CVM says it saw: this block of this chain, holding the anchor of this report. */
export interface BlockVouch {
  readonly chainId: number;
  readonly blockHash: Hex32;
  readonly report: Digest;
}

/**
 * Signs that the CVM saw a block on the chain it follows. An offline reader cannot know which blocks a
 * chain has; this is the word of a measured machine about it, worth what its view of the chain is worth.
 */
export function vouchBlock(
  vouch: BlockVouch,
  signer: { identity: Uint8Array; sign: (message: Uint8Array) => Uint8Array },
): Uint8Array {
  const payload = encodeCanonical({
    version: 1,
    chainId: vouch.chainId,
    blockHash: fromHex(vouch.blockHash),
    report: digestBytes(vouch.report),
  });
  return signSign1({
    contentType: BLOCK_VOUCH_TYPE,
    kid: sha256(signer.identity),
    payload,
    sign: signer.sign,
  });
}

/** Opens a word about a block if `identity` gave it. @throws {CloisterError} `BLOCK_VOUCH_MALFORMED`, `COSE_MALFORMED` */
export function openVouch(bytes: Uint8Array, identity: Uint8Array): BlockVouch {
  if (bytes.length > VOUCH_BYTES_MAX) throw shape.wrong("", "it is too long");
  const statement = openSign1(bytes);
  const signed = verifySign1(statement, identity, BLOCK_VOUCH_TYPE);
  shape.check(signed, "", "it was not signed by the node, or is of another kind");
  const names = ["version", "chainId", "blockHash", "report"];
  const document = shape.record(shape.decode(statement.payload, VOUCH_BYTES_MAX), "", names);
  shape.exactly(document.version, "version", 1);
  return {
    chainId: shape.count(document.chainId, "chainId"),
    blockHash: shape.hex32(document.blockHash, "blockHash"),
    report: shape.digest(document.report, "report"),
  };
}
