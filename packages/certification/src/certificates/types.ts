import type { Evidence } from "@cloister/attestation";
import type { Address, Digest, NodeId } from "@cloister/core";

/** The deployment that certificates and reports belong to. A statement of one realm means nothing in another. */
export interface Realm {
  readonly chainId: number;
  /** The contract that holds orders and the anchors of their reports. */
  readonly contract: Address;
  /** The contract that holds members, approved measurements and approved authorities. */
  readonly registry: Address;
}

/** The public keys of one CVM; their secrets never leave it. */
export interface NodeKeys {
  /** Ed25519, 32 bytes: the certificate's own key. */
  readonly identity: Uint8Array;
  /** EVM address of the secp256k1 key that signs what contracts check; the node's id. */
  readonly settlement: NodeId;
  /** X25519, 32 bytes. */
  readonly wrap: Uint8Array;
}

/** What a CVM asks to be certified: its keys, and fresh evidence that binds them to the challenge. */
export interface CertificateRequest {
  readonly keys: NodeKeys;
  readonly challenge: Uint8Array;
  readonly evidence: Evidence;
}

/** What a certificate says beyond the name and the key. */
export interface NodeStatement extends Realm {
  readonly version: 1;
  readonly settlement: NodeId;
  readonly wrap: Uint8Array;
  /** The challenge that the evidence answered. */
  readonly challenge: Uint8Array;
  /** Digest of the endorsements that the evidence was judged by. */
  readonly endorsements: Digest;
  readonly measurement: Digest;
  readonly tcbStatus: string;
  readonly simulated: boolean;
}

/** One CVM that holds a share of the authority's key. */
export interface AuthorityMember {
  /** From 1; the member's share is the value of the key's polynomial there. */
  readonly index: number;
  /** Address of the secp256k1 key with which this member signs what contracts check. */
  readonly signer: Address;
  /** Digest of the endorsements that its evidence was judged by; absent for a member without evidence here. */
  readonly endorsements?: Digest | undefined;
}

/**
 * What a certification authority says of itself. Its key exists as shares among `members`, and any
 * `threshold` of them sign together; one member with threshold 1 is the authority of a local network.
 * Evidence of so many members is inside that those without it are fewer than the threshold.
 */
export interface AuthorityStatement extends Realm {
  readonly version: 1;
  readonly challenge: Uint8Array;
  readonly measurement: Digest;
  readonly simulated: boolean;
  readonly threshold: number;
  readonly members: readonly [AuthorityMember, ...AuthorityMember[]];
  readonly log: LogStatement;
}

/** Name and Ed25519 key of the transparency log that an authority keeps, and who watches it. */
export interface LogStatement {
  readonly origin: string;
  readonly key: Uint8Array;
  /** Absent for a log without witnesses. */
  readonly witnesses?: LogWitnesses | undefined;
}

/** The nodes that co-sign a log's checkpoints; what fewer than `countMin` of them co-signed is no checkpoint. */
export interface LogWitnesses {
  readonly countMin: number;
  readonly members: readonly LogWitness[];
}

/** One CVM that witnesses a log with its identity key. */
export interface LogWitness {
  readonly node: Address;
  /** Ed25519, 32 bytes. */
  readonly key: Uint8Array;
}

/** A node certificate whose signature, form and time were verified. Its evidence was not appraised anew. */
export interface NodeCertificate {
  readonly keys: NodeKeys;
  readonly statement: NodeStatement;
  readonly evidence: Evidence;
  /** What the evidence must bind: pass it to `verify` as the challenge. */
  readonly reportData: Uint8Array;
  /** Lower-case hex. */
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly der: Uint8Array;
}

/** A self-signed authority certificate whose signature and form were verified. */
export interface AuthorityCertificate {
  /** Ed25519, 32 bytes. */
  readonly key: Uint8Array;
  readonly statement: AuthorityStatement;
  /** Evidence of members, each with what it must bind. */
  readonly evidence: readonly MemberEvidence[];
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly der: Uint8Array;
}

/** Evidence of one member of an authority. */
export interface MemberEvidence {
  readonly member: AuthorityMember;
  readonly evidence: Evidence;
  /** What the evidence must bind: pass it to `verify` as the challenge. */
  readonly reportData: Uint8Array;
}
