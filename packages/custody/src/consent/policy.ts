import type { Address, Digest } from "@cloister/core";

export const CONSENT_VERSION = 1;

/** The last moment that has a calendar date (ECMA-262 §21.4.1.1). */
export const TIME_MS_MAX = 8.64e15;

/**
 * What an owner lets others do with a sealed object. The digest of its canonical form goes into the offer.
 * Everything that is not listed is refused. spec/consent.md §2
 */
export interface ConsentPolicy {
  readonly version: typeof CONSENT_VERSION;
  /** Engines that may read the object, by the digest of their plaintext. At least one. */
  readonly engines: readonly Digest[];
  /** Purposes, e.g. `train`, `infer`. At least one. */
  readonly purposes: readonly string[];
  /** How many orders may use the object in all. */
  readonly runsMax: number;
  /** The last moment at which a key may be released; absent: no end. */
  readonly expiresAtMs?: number;
  /** The largest sum of all outputs, in bytes of plaintext. */
  readonly outputBytesMax: number;
  /** Age recipients that a result may be sealed to; absent: any. */
  readonly recipients?: readonly string[];
  /** Where the engine may connect to: nowhere, or these host names. */
  readonly egress: "none" | readonly string[];
  /** Kinds of TEE that may hold the plaintext; absent: any that the group appraises. */
  readonly tees?: readonly string[];
  /** Measurements that may hold the plaintext; absent: any that is approved. */
  readonly measurements?: readonly Digest[];
  /** A direct grant: only these nodes; absent: any that qualifies. */
  readonly nodes?: readonly Address[];
  /** The market on which this consent counts; absent: any. A document signed for one chain is none on another. */
  readonly market?: { readonly chainId: number; readonly contract: Address };
}

/** What is about to happen to an object, in the words the policy speaks. */
export interface PlannedUse {
  readonly engine: Digest;
  readonly purpose: string;
  /** Orders that used the object before this one. */
  readonly runsUsed: number;
  readonly nowMs: number;
  /** The most that the outputs may take in all, as the loader will enforce it. */
  readonly outputBytesMax: number;
  /** SHA-256 of the result's age recipient, as the order names it. */
  readonly recipientDigest: Digest;
  readonly egress: "none" | readonly string[];
  readonly tee: string;
  readonly measurement: Digest;
  readonly node: Address;
  readonly market: { readonly chainId: number; readonly contract: Address };
  /** When the owner's revocation takes effect, if there is one. */
  readonly revokedAtMs?: number;
}
