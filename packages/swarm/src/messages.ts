import type { NodeId, OrderId } from "@cloister/core";
import type { Assignment, LinkSample } from "./types.ts";

/** A network coordinate: a point, a height for the access link, and how sure it is (Vivaldi). */
export interface Coordinate {
  readonly point: readonly number[];
  readonly heightMs: number;
  readonly error: number;
}

/** One claim about a member's liveness. A higher incarnation wins; at the same one, the worse status. */
export interface MemberUpdate {
  readonly id: NodeId;
  readonly status: (typeof UPDATE_STATUSES)[number];
  readonly incarnation: number;
}

/** From best to worst: at one incarnation the worse one wins. */
export const UPDATE_STATUSES = ["alive", "suspect", "dead", "left"] as const;

/** A `MemberUpdate` on the wire, where it is most of the traffic: id, status by its rank, incarnation. */
export type WireUpdate = readonly [id: NodeId, rank: number, incarnation: number];

/** What every message carries, so that one meant for another swarm is refused. */
export interface Envelope {
  readonly chainId: number;
  /** The first 8 hex digits of the contract's address. */
  readonly swarm: string;
}

export type Message = Envelope & Body;

export type Body =
  | {
      readonly kind: "ping";
      readonly nonce: number;
      readonly incarnation: number;
      readonly term: number;
      /** Set when the sender is a voter that renews the lease of the receiver's term. */
      readonly lease: boolean;
      readonly coordinate: Coordinate;
      readonly updates: readonly WireUpdate[];
    }
  | {
      readonly kind: "ack";
      readonly nonce: number;
      readonly incarnation: number;
      readonly term: number;
      readonly coordinate: Coordinate;
      readonly updates: readonly WireUpdate[];
      /** The leader's ranking of voters, best placed first; on acks of the leader to voters only. */
      readonly succession?: readonly NodeId[];
    }
  | { readonly kind: "ping-for"; readonly nonce: number; readonly target: NodeId }
  | { readonly kind: "ack-for"; readonly nonce: number; readonly target: NodeId; readonly heard: boolean }
  /** A voter has lost the leader of `term`: its pre-vote for whoever comes next. */
  | { readonly kind: "doubt"; readonly term: number; readonly standing: boolean }
  | {
      readonly kind: "vote";
      readonly term: number;
      readonly candidate: NodeId;
      readonly signature: Uint8Array;
    }
  | {
      readonly kind: "assignment";
      readonly assignment: Assignment;
      readonly signature: Uint8Array;
    }
  | {
      readonly kind: "withdrawal";
      readonly orderId: OrderId;
      readonly term: number;
    }
  | {
      readonly kind: "report";
      readonly sequence: number;
      readonly term: number;
      readonly draining: boolean;
      readonly coordinate: Coordinate;
      readonly samples: readonly LinkSample[];
      readonly work: readonly {
        readonly orderId: OrderId;
        readonly term: number;
        readonly state: "accepted" | "running" | "done" | "failed";
      }[];
      /** Over the statement of kind `measurement`. */
      readonly signature: Uint8Array;
    }
  /** The leader asks for round trips to some members; with `load` for bandwidth too. */
  | {
      readonly kind: "measure";
      readonly term: number;
      readonly targets: readonly NodeId[];
      readonly load: boolean;
    }
  /** One piece of a bandwidth probe; the last one is answered. */
  | { readonly kind: "load"; readonly nonce: number; readonly piece: number; readonly payload: Uint8Array }
  | { readonly kind: "load-ack"; readonly nonce: number };
