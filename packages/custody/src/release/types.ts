import type { Digest } from "@cloister/core";

/** A node of the key-release group, as every other member knows it. */
export interface GroupMember {
  /** The node's id. */
  readonly id: string;
  /** 1 to n: where the member's share lies on the polynomial. */
  readonly index: number;
  /** Ed25519: signs the ceremony's messages. */
  readonly identityKey: Uint8Array;
  /** X25519: receives shares. */
  readonly wrapKey: Uint8Array;
}

/** The public side of a key-release group in one epoch. */
export interface GroupKey {
  /** Stays the same when members change: digest of the group's public point. */
  readonly groupId: Digest;
  /** Counts ceremonies: shares of different epochs do not combine. */
  readonly epoch: number;
  /** How many members must take part to open. */
  readonly threshold: number;
  readonly members: readonly GroupMember[];
  /** Feldman commitments to the shared polynomial: `threshold` compressed edwards25519 points. */
  readonly commitments: readonly Uint8Array[];
  /** The group as an ordinary age recipient: `age1…`. Owners seal to it. */
  readonly recipient: string;
}

/** A member's secret: keep it sealed. `secret` is a scalar below the group order, 32 bytes little-endian. */
export interface GroupShare {
  readonly groupId: Digest;
  readonly epoch: number;
  readonly index: number;
  readonly secret: Uint8Array;
}

/** One member's contribution to opening one stanza, with the proof that it used its own share. */
export interface PartialKey {
  readonly epoch: number;
  readonly index: number;
  /** Compressed edwards25519 point: share · E. */
  readonly point: Uint8Array;
  /** Chaum-Pedersen proof: challenge and response, 32 bytes each. */
  readonly proof: Uint8Array;
}

/** What a partial key was made for; the proof covers it. */
export interface PartialContext {
  readonly orderId: string;
  readonly headerDigest: Digest;
}
