import type { Message } from "./messages.ts";
import type { Address, Hex32, NodeId, OrderId, Verdict } from "@cloister/core";

/** Facts about a member's hardware that an attestation result vouches for. */
export interface HardwareFacts {
  /** Kind of TEE as the attestation package names it: `tdx`, `sev-snp`, … */
  readonly tee: string;
  readonly simulated: boolean;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly gpus: number;
  /** Where its operator says that it stands: no evidence vouches for that. */
  readonly region?: string;
}

/** One member as the chain's registry admits it. */
export interface MemberRecord {
  readonly id: NodeId;
  readonly operator: Address;
  /** Tells whether the member may vote in elections. */
  readonly voter: boolean;
  /** Where the operator says the machine stands, where the registry knows it; what its channel says wins over it. */
  readonly region?: string;
  /** False once the TCB of its hardware was revoked: the member is evicted and its work moved. */
  readonly eligible?: boolean;
  /** Hardware, where the registry knows it; what a channel's evidence says wins over it. */
  readonly facts?: HardwareFacts;
}

/**
 * The part of the chain that the swarm obeys, as of one block. A later view may go back in
 * block number and in term: chains reorganise. Pass the same `members` array while it has not changed.
 */
export interface RegistryView {
  readonly blockNumber: number;
  readonly members: readonly MemberRecord[];
  /** The confirmed term; 0 before the first election. */
  readonly term: number;
  readonly leader?: NodeId | undefined;
  /** Confirmed groups, one per goal: the highest epoch of each. */
  readonly groups: readonly GroupRecord[];
}

export type GroupKind =
  | "overlay"
  | "storage"
  | "kubernetes"
  | "key-release"
  | "certification"
  | "inference"
  | "training"
  | "compute";

/** What a group must be like. Absent limits do not limit. */
export interface Goal {
  readonly id: string;
  readonly kind: GroupKind;
  readonly size: { readonly min: number; readonly max: number };
  /** Every pair of members must be at most this far apart, round trip. */
  readonly latencyMsMax?: number;
  /** Every pair of members must reach at least this, in both directions. */
  readonly bandwidthMbpsMin?: number;
  /** Kinds of TEE a member may have; absent: any. */
  readonly tees?: readonly string[];
  readonly cpusMin?: number;
  readonly memoryBytesMin?: number;
  /** GPUs that each member must have. */
  readonly gpusMin?: number;
  /** GPUs that the whole group must have. */
  readonly groupGpusMin?: number;
  readonly operatorsMin?: number;
  readonly regionsMin?: number;
  /** Regions a member may stand in; absent: any. */
  readonly regions?: readonly string[];
  /** Members to prefer where all else is equal. */
  readonly affinity?: readonly NodeId[];
  /** What meeting this goal is worth, relative to other goals. Default 1. */
  readonly weight?: number;
  /** How long a failed member may stay away before it is replaced. Default in bounds. */
  readonly failedGraceMs?: number;
  /** How long a member may be over a limit before it is replaced. Default in bounds. */
  readonly degradedGraceMs?: number;
  /** Shares its members with other goals. Default true; exclusive groups never overlap one another. */
  readonly shared?: boolean;
}

/** One committed configuration of a group. Epochs of a goal only grow. */
export interface GroupRecord {
  readonly goalId: string;
  readonly epoch: number;
  /** The term whose leader formed it. */
  readonly term: number;
  /** Ascending by id. */
  readonly members: readonly NodeId[];
}

/** One vote: a voter gives `term` to `candidate`, at most once per term. EIP-712 on the wire and on chain. */
export interface TermVote {
  readonly term: number;
  readonly candidate: NodeId;
}

/** A quorum of votes for one term: what the contract demands before it moves the fence. */
export interface TermCertificate {
  readonly term: number;
  readonly leader: NodeId;
  /** Ascending by voter; `signature` is what `Signatures.sign` gave for the vote. */
  readonly votes: readonly { readonly voter: NodeId; readonly signature: Uint8Array }[];
}

/** The leader's decision that one node runs one order. Valid while the chain's term is `term`. */
export interface Assignment {
  readonly orderId: OrderId;
  readonly node: NodeId;
  readonly term: number;
  /** Epoch of the group it was placed on. */
  readonly epoch: number;
  readonly goalId: string;
}

/** An order that the chain holds open. */
export interface OpenOrder {
  readonly orderId: OrderId;
  /** Goal whose group must run it; absent: any group of kind `compute`, else any group. */
  readonly goalId?: string;
  /** Kinds of TEE its inputs' owners allow; absent: any. */
  readonly tees?: readonly string[];
  readonly memoryBytesMin?: number;
  readonly gpusMin?: number;
  readonly deadlineMs: number;
  /** The block that opened it: no leader of a term that the chain has since then replaced can have placed it. */
  readonly openedBlock?: number;
}

/** What this node's loader says about an order it was given. */
export interface WorkStatus {
  readonly orderId: OrderId;
  readonly state: "running" | "done" | "failed";
}

/** What mutual attestation on a channel established. */
export interface PeerFacts {
  readonly facts?: HardwareFacts;
  /** When, on this node's clock, the evidence is too old and must have been renewed. Absent: never. */
  readonly validUntilMs?: number;
}

/** The statements that members sign. A vote and an assignment are EIP-712 under the market's domain. */
export type Statement =
  | ({ readonly kind: "vote" } & TermVote)
  | ({ readonly kind: "assignment" } & Assignment)
  | {
      readonly kind: "measurement";
      readonly reporter: NodeId;
      readonly sequence: number;
      readonly samples: readonly LinkSample[];
    };

/** One end's view of a link: smoothed round trip, its deviation and how many probes it rests on. */
export interface LinkSample {
  readonly peer: NodeId;
  readonly rttMs: number;
  readonly deviationMs: number;
  readonly probes: number;
  readonly bandwidthMbps?: number;
}

/**
 * Signs and checks statements with the members' settlement keys (secp256k1). Both functions are pure
 * and bound to one chain and contract, so that a statement for another chain does not verify here.
 */
export interface Signatures {
  sign(statement: Statement): Uint8Array;
  verify(statement: Statement, signer: NodeId, signature: Uint8Array): boolean;
}

/** What a node is told once, when it starts. */
export interface SwarmConfig {
  readonly self: NodeId;
  /** Chain and contract this swarm lives on; messages that name another are refused. */
  readonly chainId: number;
  readonly contract: Address;
  readonly facts: HardwareFacts;
  readonly signatures: Signatures;
  /** Seeds every random choice of this run: 32 bits of entropy. */
  readonly seed: number;
  readonly nowMs: number;
  /** What `persist` last made durable; absent on the first start. */
  readonly record?: DurableRecord | undefined;
  readonly timing?: Partial<Timing>;
}

/**
 * What must survive a crash. A node that lost it must not vote until the terms it may have voted in
 * are over; the runtime then starts it with a new identity.
 */
export interface DurableRecord {
  readonly votedTerm: number;
  readonly votedFor?: NodeId | undefined;
  readonly incarnation: number;
  /** Assignments accepted and not yet finished, so that a restart goes on with them. */
  readonly assignments: readonly { readonly assignment: Assignment; readonly signature: Uint8Array }[];
}

/** Every delay of the protocol. Defaults are in bounds.ts; `init` keeps each within its range. */
export interface Timing {
  /** One probe per node and interval, whatever the size of the swarm. */
  readonly probeIntervalMs: number;
  /** The least time an answer is waited for beyond the usual round trip. */
  readonly probeSlackMs: number;
  /** Silence of a suspect before it counts as dead, when nobody confirms. Confirmations shorten it. */
  readonly suspicionMs: number;
  /** How long a leader acts after it last heard from a quorum of voters. */
  readonly leaseMs: number;
  /** How long an elected leader may take to reach the chain. */
  readonly confirmMs: number;
  /** How long a node waits for others before its first vote. */
  readonly startupMs: number;
  /** How long a new leader listens for work in progress before it places orders. */
  readonly takeoverMs: number;
  /** Period of reports of links and work to the leader. */
  readonly reportMs: number;
  readonly failedGraceMs: number;
  readonly degradedGraceMs: number;
  /** Time after which an unconfirmed send of an assignment is repeated. */
  readonly resendMs: number;
}

/** Everything that can happen to a node. `nowMs` is its local clock, which never goes back by contract. */
export type Input =
  | { readonly kind: "tick"; readonly nowMs: number }
  /** A message on the attested channel of `from`: decoded CBOR or bytes, not yet trusted in any way. */
  | { readonly kind: "received"; readonly nowMs: number; readonly from: NodeId; readonly message: unknown }
  /** A channel is up; `verdict` is the result of appraising the peer's evidence on it. Also on re-attestation. */
  | {
      readonly kind: "peer-up";
      readonly nowMs: number;
      readonly id: NodeId;
      readonly verdict: Verdict<PeerFacts>;
    }
  | { readonly kind: "peer-down"; readonly nowMs: number; readonly id: NodeId }
  /**
   * What the chain says. The orders of the same block belong with it: a leader that learns of them apart acts for a
   * moment under a term, or on orders, that the block has ended.
   */
  | {
      readonly kind: "registry";
      readonly nowMs: number;
      readonly view: RegistryView;
      readonly orders?: readonly OpenOrder[];
    }
  | { readonly kind: "goals"; readonly nowMs: number; readonly goals: readonly Goal[] }
  /** All orders that the chain holds open, each time in full. */
  | { readonly kind: "orders"; readonly nowMs: number; readonly orders: readonly OpenOrder[] }
  /** All orders this node's loader works on or finished since it started, each time in full. */
  | { readonly kind: "work"; readonly nowMs: number; readonly work: readonly WorkStatus[] }
  /** Leaves in good order: hands over the lead, takes no more work. */
  | { readonly kind: "drain"; readonly nowMs: number };

/**
 * What the runtime must do, in the order given. A `persist` must be durable before any later effect
 * of the same step is carried out: votes and acceptances that follow it are promises.
 */
export type Effect =
  | { readonly kind: "send"; readonly to: NodeId; readonly message: Message }
  | { readonly kind: "persist"; readonly record: DurableRecord }
  /** Put the certificate on chain. Repeated until the registry view shows it or a higher term. */
  | { readonly kind: "publish-term"; readonly certificate: TermCertificate }
  /** Put the group on chain; only the confirmed leader of `group.term` says so. Repeated until confirmed. */
  | { readonly kind: "publish-group"; readonly group: GroupRecord }
  /** This node, as leader, placed an order. The core sends it; the effect is for logs and metrics. */
  | { readonly kind: "assign"; readonly assignment: Assignment; readonly signature: Uint8Array }
  /** This node was given an order: hand it to the loader. Repeats are idempotent; a later term replaces. */
  | { readonly kind: "run"; readonly assignment: Assignment; readonly signature: Uint8Array }
  /** The order was placed elsewhere or is no longer open: stop it if it has not settled. */
  | { readonly kind: "abandon"; readonly orderId: OrderId; readonly reason: string }
  | { readonly kind: "connect"; readonly peer: NodeId }
  | { readonly kind: "disconnect"; readonly peer: NodeId; readonly code: string; readonly reason: string }
  | {
      readonly kind: "log";
      readonly level: "info" | "warn";
      readonly event: string;
      readonly fields: Readonly<Record<string, unknown>>;
    };

export type MemberStatus = "unknown" | "alive" | "suspect" | "dead" | "left";

/** What a terminal, a metric or an API shows of one node's view. */
export interface SwarmView {
  readonly self: NodeId;
  readonly term: number;
  readonly leader: NodeId | undefined;
  readonly role: "follower" | "candidate" | "elected" | "leader";
  /** When the lease runs out, on this node's clock; 0 unless it leads. */
  readonly leaseUntilMs: number;
  readonly members: readonly MemberView[];
  readonly groups: readonly GroupRecord[];
  /** Orders placed, as the leader knows them. */
  readonly assignments: readonly Assignment[];
  /** Orders this node itself holds. */
  readonly held: readonly Assignment[];
  /** Why goals are not met, by goal; known to the leader. */
  readonly unmet: Readonly<Record<string, string>>;
  /** Members whose measurements contradict those of most others; known to the leader, which places none of them anew. */
  readonly distrusted: readonly NodeId[];
  readonly draining: boolean;
  /** It drains, holds no order, is in no group and does not lead: it may go, and nothing is lost. */
  readonly drained: boolean;
  readonly doubting: boolean;
  readonly counters: Readonly<Record<string, number>>;
  /** Refused messages by the member that sent them, then by code. */
  readonly refusals: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

export interface MemberView {
  readonly id: NodeId;
  readonly status: MemberStatus;
  readonly connected: boolean;
  readonly incarnation: number;
  /** Smoothed round trip, where this node measured it; else what the coordinates predict. */
  readonly rttMs: number | undefined;
  readonly measured: boolean;
  /** To the member, where a goal asked for it to be measured. */
  readonly bandwidthMbps?: number;
}

/** 32 bytes that name a statement or a document of the swarm. */
export type SwarmDigest = Hex32;
