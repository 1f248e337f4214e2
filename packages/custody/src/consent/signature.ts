import {
  accept,
  concat,
  digestToHex,
  fromHex,
  refuse,
  toHex,
  utf8,
  type Address,
  type Digest,
  type Verdict,
} from "@cloister/core";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { keccak_256 } from "@noble/hashes/sha3.js";

/**
 * What an owner's wallet signs about a consent: EIP-712, in a domain that names the chain and the market's contract.
 * spec/consent.md §5
 */
export type ConsentStatement =
  | {
      readonly kind: "grant";
      readonly market: Market;
      readonly consentDigest: Digest;
      /** The object it is for. */
      readonly sealedDigest: Digest;
    }
  | {
      readonly kind: "revocation";
      readonly market: Market;
      readonly consentDigest: Digest;
      /** From this moment on nothing is released under the consent. */
      readonly effectiveAtMs: number;
    };

interface Market {
  readonly chainId: number;
  readonly contract: Address;
}

interface Field {
  readonly name: string;
  readonly type: "address" | "bytes32" | "string" | "uint256" | "uint64";
}

/** Typed data as wallets take it (`eth_signTypedData_v4`). */
export interface ConsentTypedData {
  readonly domain: {
    readonly name: string;
    readonly version: string;
    readonly chainId: number;
    readonly verifyingContract: Address;
  };
  readonly types: Readonly<Record<string, readonly Field[]>>;
  readonly primaryType: "Consent" | "Revocation";
  readonly message: Readonly<Record<string, string>>;
}

const DOMAIN_FIELDS: readonly Field[] = [
  { name: "name", type: "string" },
  { name: "version", type: "string" },
  { name: "chainId", type: "uint256" },
  { name: "verifyingContract", type: "address" },
];
const SIGNATURE_BYTES = 65;

/** The statement as a wallet shows and signs it. */
export function consentTypedData(statement: ConsentStatement): ConsentTypedData {
  const { chainId, contract } = statement.market;
  const domain = { name: "Cloister consent", version: "1", chainId, verifyingContract: contract };
  const consentDigest = digestToHex(statement.consentDigest);
  if (statement.kind === "grant") {
    const types = fieldsOf("Consent", "bytes32 consentDigest", "bytes32 sealedDigest");
    return {
      domain,
      types,
      primaryType: "Consent",
      message: { consentDigest, sealedDigest: digestToHex(statement.sealedDigest) },
    };
  }
  const types = fieldsOf("Revocation", "bytes32 consentDigest", "uint64 effectiveAtMs");
  return {
    domain,
    types,
    primaryType: "Revocation",
    message: { consentDigest, effectiveAtMs: String(statement.effectiveAtMs) },
  };
}

/** The 32 bytes that are signed: keccak256(0x1901 ‖ domain separator ‖ struct hash), EIP-712. */
export function consentSigningDigest(statement: ConsentStatement): Uint8Array {
  const { domain, types, primaryType, message } = consentTypedData(statement);
  const separator = hashStruct("EIP712Domain", DOMAIN_FIELDS, { ...domain, chainId: String(domain.chainId) });
  const struct = hashStruct(primaryType, types[primaryType] as readonly Field[], message);
  return keccak_256(concat(Uint8Array.of(0x19, 0x01), separator, struct));
}

/**
 * Checks that the owner's account signed a statement. A contract wallet's signature (EIP-1271) takes a chain to
 * check and is refused here. Codes: `CONSENT_SIGNATURE_INVALID`, `CONSENT_SIGNER_NOT_OWNER`.
 */
export function verifyConsentSignature(
  statement: ConsentStatement,
  signature: Uint8Array,
  owner: Address,
): Verdict<ConsentStatement> {
  const signer = recoverSigner(consentSigningDigest(statement), signature);
  if (signer === undefined)
    return refuse(
      "CONSENT_SIGNATURE_INVALID",
      "The signature is not one of a wallet's key over this statement.",
    );
  if (signer !== owner)
    return refuse(
      "CONSENT_SIGNER_NOT_OWNER",
      `${signer} signed this statement, or another; the owner is ${owner}.`,
      "Sign with the owner's account, for this chain and contract.",
    );
  return accept(statement);
}

function recoverSigner(digest: Uint8Array, signature: Uint8Array): Address | undefined {
  const recovery = (signature[64] ?? 0) - 27;
  if (signature.length !== SIGNATURE_BYTES || (recovery !== 0 && recovery !== 1)) return undefined;
  try {
    const recovered = concat(Uint8Array.of(recovery), signature.subarray(0, 64));
    // A second valid signature made from the first (malleability) is no signature of the wallet's.
    if (secp256k1.Signature.fromBytes(recovered, "recovered").hasHighS()) return undefined;
    const key = secp256k1.recoverPublicKey(recovered, digest, { prehash: false });
    const point = secp256k1.Point.fromBytes(key).toBytes(false);
    return `0x${toHex(keccak_256(point.subarray(1)).subarray(12))}` as Address;
  } catch {
    return undefined;
  }
}

function fieldsOf(name: string, ...declarations: readonly string[]): Record<string, Field[]> {
  const fields = declarations.map((declaration) => {
    const [type, member] = declaration.split(" ") as [Field["type"], string];
    return { name: member, type };
  });
  return { EIP712Domain: [...DOMAIN_FIELDS], [name]: fields };
}

function hashStruct(
  name: string,
  fields: readonly Field[],
  values: Readonly<Record<string, string>>,
): Uint8Array {
  const declaration = `${name}(${fields.map((field) => `${field.type} ${field.name}`).join(",")})`;
  const members = fields.map((field) => encodeField(field.type, values[field.name] as string));
  return keccak_256(concat(keccak_256(utf8(declaration)), ...members));
}

/** A value in the 32 bytes that EIP-712 gives it. */
function encodeField(type: Field["type"], value: string): Uint8Array {
  if (type === "string") return keccak_256(utf8(value));
  const hex = type === "address" || type === "bytes32" ? value.slice(2) : BigInt(value).toString(16);
  return fromHex(hex.padStart(64, "0"));
}
