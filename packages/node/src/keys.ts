import { secp256k1 } from "@noble/curves/secp256k1.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import {
  CloisterError,
  decodeCanonical,
  ed25519PublicKey,
  encodeCanonical,
  toHex,
  x25519PublicKey,
  type Entropy,
  type NodeId,
  type RecordStore,
} from "@cloister/core";

const RECORD = "keys";

/** The keys that a CVM made for itself. The secrets exist in its memory and in its sealed records only. */
export interface CvmKeys {
  /** Ed25519: the TLS identity, and what reports and checkpoints are signed with. */
  readonly identitySeed: Uint8Array;
  readonly identity: Uint8Array;
  /** secp256k1: signs what contracts check. Its address is the node's id. */
  readonly settlementSecret: Uint8Array;
  readonly settlement: NodeId;
  /** X25519: receives partial keys. */
  readonly wrapSecret: Uint8Array;
  readonly wrap: Uint8Array;
}

/** Loads this CVM's keys from its sealed records, or makes them and returns once they are durable. */
export async function loadOrCreateKeys(sealed: RecordStore, entropy: Entropy): Promise<CvmKeys> {
  const record = await sealed.read(RECORD);
  if (record !== undefined) return fromSecrets(decodeCanonical(record) as unknown as Secrets);
  const secrets: Secrets = {
    identitySeed: entropy(32),
    settlementSecret: secp256k1.utils.randomSecretKey(entropy(48)),
    wrapSecret: entropy(32),
  };
  await sealed.write(RECORD, encodeCanonical(secrets));
  return fromSecrets(secrets);
}

interface Secrets {
  readonly identitySeed: Uint8Array;
  readonly settlementSecret: Uint8Array;
  readonly wrapSecret: Uint8Array;
}

function fromSecrets(secrets: Secrets): CvmKeys {
  const { identitySeed, settlementSecret, wrapSecret } = secrets;
  if (![identitySeed, settlementSecret, wrapSecret].every((secret) => secret?.length === 32)) {
    throw new CloisterError(
      "SEALED_RECORD_UNREADABLE",
      "The sealed record of this CVM's keys is incomplete.",
    );
  }
  return {
    identitySeed,
    identity: ed25519PublicKey(identitySeed),
    settlementSecret,
    settlement: settlementAddress(settlementSecret),
    wrapSecret,
    wrap: x25519PublicKey(wrapSecret),
  };
}

/** The EVM address of a secp256k1 secret: the last 20 bytes of the Keccak-256 of its public point. */
function settlementAddress(secret: Uint8Array): NodeId {
  const point = secp256k1.getPublicKey(secret, false);
  return `0x${toHex(keccak_256(point.subarray(1)).subarray(12))}` as NodeId;
}
