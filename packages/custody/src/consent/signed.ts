import {
  accept,
  acceptUnless,
  CloisterError,
  fromHex,
  isDigest,
  toHex,
  type Address,
  type Verdict,
} from "@cloister/core";
import { consentDigest, formatConsent, parseConsent } from "./codec.ts";
import type { ConsentPolicy } from "./policy.ts";
import { verifyConsentSignature, type ConsentStatement } from "./signature.ts";

const DOCUMENT_CHARACTERS_MAX = 192 * 1024;
/** A contract wallet's signature may hold those of many owners. */
const SIGNATURE_BYTES_MAX = 8_192;

type Grant = Extract<ConsentStatement, { kind: "grant" }>;

/** A policy, the object that it is for, and the owner's signature over both. spec/consent.md §5 */
export interface SignedConsent {
  readonly policy: ConsentPolicy;
  readonly grant: Grant;
  readonly owner: Address;
  readonly signature: Uint8Array;
}

/** Writes a signed consent as people read it and as tools take it: JSON. */
export function formatSignedConsent({ policy, grant, owner, signature }: SignedConsent): string {
  const document = {
    consent: JSON.parse(formatConsent(policy)) as unknown,
    object: grant.sealedDigest,
    market: grant.market,
    owner,
    signature: `0x${toHex(signature)}`,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** Tells whether a text is meant as a signed consent rather than a bare policy. */
export function isSignedConsent(text: string): boolean {
  try {
    const document = JSON.parse(text) as unknown;
    return typeof document === "object" && document !== null && "consent" in document;
  } catch {
    return false;
  }
}

/**
 * Reads a signed consent for form; the signature is for `judgeSignedConsent`.
 * @throws {CloisterError} `CONSENT_MALFORMED` naming the member.
 */
export function parseSignedConsent(text: string): SignedConsent {
  if (text.length > DOCUMENT_CHARACTERS_MAX) throw malformed("document", "as short as one is");
  const document = recordOf(parseJson(text), "document", [
    "consent",
    "object",
    "market",
    "owner",
    "signature",
  ]);
  const { consent, object, owner, signature } = document;
  const market = recordOf(document["market"], "market", ["chainId", "contract"]);
  const { chainId, contract } = market;
  if (typeof object !== "string" || !isDigest(object))
    throw malformed("object", "a digest (sha256: and 64 hex digits)");
  if (!isAddress(owner)) throw malformed("owner", "an address (0x and 40 lower-case hex digits)");
  if (!isAddress(contract))
    throw malformed("market.contract", "an address (0x and 40 lower-case hex digits)");
  if (!Number.isSafeInteger(chainId) || (chainId as number) < 0) throw malformed("market.chainId", "a count");
  const policy = parseConsent(JSON.stringify(consent));
  return {
    policy,
    grant: {
      kind: "grant",
      market: { chainId: chainId as number, contract },
      consentDigest: consentDigest(policy),
      sealedDigest: object,
    },
    owner,
    signature: readSignature(signature),
  };
}

/**
 * Checks that the owner signed this policy for this object on this market. `isContractWallet` tells of an owner
 * whose signature (EIP-1271) only the chain can check, and that it was checked there.
 * Codes: `CONSENT_SIGNATURE_INVALID`, `CONSENT_SIGNER_NOT_OWNER`, `CONSENT_OTHER_MARKET`.
 */
export function judgeSignedConsent(signed: SignedConsent, isContractWallet = false): Verdict<SignedConsent> {
  const { policy, grant, owner, signature } = signed;
  const verdict = isContractWallet ? accept(grant) : verifyConsentSignature(grant, signature, owner);
  const { market } = policy;
  const same =
    market === undefined ||
    (market.chainId === grant.market.chainId && market.contract === grant.market.contract);
  const other = {
    code: "CONSENT_OTHER_MARKET",
    reason: `The policy counts on chain ${market?.chainId}, contract ${market?.contract}; it was signed for chain ${grant.market.chainId}, contract ${grant.market.contract}.`,
  };
  return acceptUnless([...(verdict.ok ? [] : verdict.refusals), ...(same ? [] : [other])], () => signed);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw malformed("document", "JSON", cause);
  }
}

function recordOf(value: unknown, path: string, names: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed(path, "a map");
  const foreign = Object.keys(value).find((name) => !names.includes(name));
  if (foreign !== undefined) throw malformed(foreign.slice(0, 64), "a member of a signed consent");
  const missing = names.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) throw malformed(missing, "given");
  return value as Record<string, unknown>;
}

function isAddress(value: unknown): value is Address {
  return typeof value === "string" && /^0x[0-9a-f]{40}$/.test(value);
}

function readSignature(value: unknown): Uint8Array {
  const right = typeof value === "string" && /^0x([0-9a-f]{2})+$/.test(value);
  if (!right || value.length > 2 + 2 * SIGNATURE_BYTES_MAX) throw malformed("signature", "0x and hex digits");
  return fromHex(value);
}

function malformed(path: string, expected: string, cause?: unknown): CloisterError {
  const where = path === "document" ? "The signed consent" : `In the signed consent, "${path}"`;
  return new CloisterError("CONSENT_MALFORMED", `${where} is not ${expected}.`, {
    hint: "`cloister consent sign` writes one; spec/consent.md §5 lists its members.",
    ...(cause === undefined ? {} : { cause }),
    details: { path, expected },
  });
}
