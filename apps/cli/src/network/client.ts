import { existsSync, statSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { openChain } from "@cloister/adapters/chain";
import { openDirectoryStore } from "@cloister/adapters/store";
import {
  CloisterError,
  fromHex,
  fromUtf8,
  valueOf,
  type NodeId,
  type ObjectStore,
  type OrderId,
  type Refusal,
  type Verdict,
} from "@cloister/core";
import type { GroupKey } from "@cloister/custody";
import type { Chain } from "@cloister/market";
import { judgeGroupStatements, type KeyView, type Machine } from "@cloister/node";
import type { SwarmView } from "@cloister/swarm";
import type { NodeEvent } from "./events.ts";
import { layoutOf, readNetwork, type Layout, type NetworkFile } from "./layout.ts";
import { deploymentOf } from "./local-network.ts";

const ASK_MS = 3_000;
/** Once one node has answered, how much longer the others are waited for: one of them may be frozen. */
const ASK_MORE_MS = 1_000;
const ASK_AGAIN_MS = 10_000;
const DURABLE_WITHIN_MS = 3_000;

/** What a node says of itself on its status page. Not trusted: whoever relies on a part of it checks that part. */
export interface NodeStatus {
  readonly name: string;
  readonly id?: NodeId;
  readonly measurement?: string;
  readonly simulated?: boolean;
  readonly certifiedUntilMs?: number;
  readonly refusal?: Refusal;
  readonly draining?: boolean;
  readonly swarm?: SwarmView;
  readonly peers?: readonly PeerStatus[];
  readonly traffic?: { readonly receivedBytes: number; readonly sentBytes: number };
  readonly process?: ProcessStatus;
  readonly events?: readonly NodeEvent[];
  readonly work?: readonly { readonly orderId: OrderId; readonly state: string }[];
  /** The keys of key-release that the node holds shares of. */
  readonly keys?: readonly KeyView[];
  /** Hex of the node's signed words about them. */
  readonly keyStatements?: readonly string[];
}

/** One channel of a node, as its peer's evidence last showed the peer. */
export interface PeerStatus {
  readonly id: NodeId;
  readonly tee: string;
  readonly simulated: boolean;
  readonly measurement: string;
  readonly tcbStatus: string;
  readonly attestedMs: number;
  readonly machine: Machine;
  readonly dialed: boolean;
  readonly queuedFrames: number;
  readonly droppedFrames: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

/** What a node's process takes of its machine. */
export interface ProcessStatus {
  readonly pid: number;
  readonly upSeconds: number;
  readonly cpuSeconds: number;
  readonly memoryBytes: number;
}

/** How an order ended, in a node's words. */
export interface OrderReasons {
  readonly kind: "report" | "refusal";
  readonly succeeded: boolean;
  readonly reason: string;
  readonly exitCode: number;
  readonly refusals: readonly Refusal[];
}

/** What a node says of itself goes to terminals: no text of it may move the cursor. */
function withoutControls(_: string, value: unknown): unknown {
  return typeof value === "string" ? value.replaceAll(/[\p{Cc}\p{Cf}]/gu, "") : value;
}

/** A network as its users see it: the chain, the store, the nodes' public pages. */
export class Client {
  readonly layout: Layout;
  readonly network: NetworkFile;
  readonly chain: Chain;
  readonly store: ObjectStore;

  private constructor(layout: Layout, network: NetworkFile, chain: Chain, store: ObjectStore) {
    this.layout = layout;
    this.network = network;
    this.chain = chain;
    this.store = store;
  }

  /** @throws {CloisterError} `NETWORK_MISSING`, `CHAIN_UNREACHABLE` */
  static async open(home: string): Promise<Client> {
    const layout = layoutOf(home);
    const network = readNetwork(layout);
    const chain = await openChain({ rpcUrl: network.rpcUrl, deployment: deploymentOf(network) });
    await chain.refresh();
    return new Client(layout, network, chain, await openDirectoryStore(layout.objects, Date.now()));
  }

  /**
   * Waits until the local chain has put on disk what it was told before this call: what a command reported as
   * done must not be undone when the chain is killed. Other chains have finality for that.
   */
  async durable(): Promise<void> {
    const { chainState } = this.layout;
    const sinceMs = Date.now();
    for (let waitedMs = 0; waitedMs < DURABLE_WITHIN_MS; waitedMs += 50) {
      if (!existsSync(chainState) || statSync(chainState).mtimeMs > sinceMs) return;
      await wait(50);
    }
  }

  /** The status pages of all nodes; of one that does not answer, only its name. */
  nodes(): Promise<NodeStatus[]> {
    const enough = new AbortController();
    const signal = AbortSignal.any([enough.signal, AbortSignal.timeout(ASK_MS)]);
    return Promise.all(
      this.network.nodes.map(async ({ name, statusUrl }) => {
        try {
          const response = await fetch(`${statusUrl}/status`, { signal });
          const page = JSON.parse(await response.text(), withoutControls) as NodeStatus;
          setTimeout(() => enough.abort(), ASK_MORE_MS).unref();
          return { ...page, name };
        } catch {
          return { name };
        }
      }),
    );
  }

  /**
   * The key-release group that owners seal to, vouched for by enough of its registered members.
   * Members that do not answer at once are asked again.
   * @throws {CloisterError} `RELEASE_GROUP_UNVOUCHED`
   */
  async releaseGroup(withinMs = ASK_AGAIN_MS): Promise<GroupKey> {
    const endMs = Date.now() + withinMs;
    for (;;) {
      const verdict = await this.#judgeReleaseGroup();
      if (verdict.ok || Date.now() > endMs) return valueOf(verdict);
      await wait(300);
    }
  }

  async #judgeReleaseGroup(): Promise<Verdict<GroupKey>> {
    const { chainId, market, registry } = this.network;
    const nodes = await this.nodes();
    const statements = nodes.flatMap(({ keyStatements = [] }) => keyStatements.map(fromHex));
    const { state } = await this.chain.refresh();
    return judgeGroupStatements(statements, { chainId, contract: market, registry }, state, Date.now());
  }

  /** How a node says an order ended, with its reasons. The chain says whether it did. */
  async orderReasons(orderId: OrderId): Promise<OrderReasons | undefined> {
    const page = await this.#ask(`/orders/${orderId}`);
    return page === undefined ? undefined : (JSON.parse(fromUtf8(page)) as OrderReasons);
  }

  /** The proof of a settled order, from whichever node has it; it is for the reader to verify. */
  async proof(orderId: OrderId): Promise<Uint8Array> {
    const proof = await this.#ask(`/proofs/${orderId}`);
    if (proof !== undefined) return proof;
    throw new CloisterError("PROOF_NOT_FOUND", `No node has a proof of order ${orderId}.`, {
      hint: "A proof is made a moment after the order succeeded; a failed order has none.",
    });
  }

  /** The first node's answer to a path of its status page. */
  async #ask(path: string): Promise<Uint8Array | undefined> {
    for (const { statusUrl } of this.network.nodes) {
      try {
        const response = await fetch(`${statusUrl}${path}`, { signal: AbortSignal.timeout(ASK_MS) });
        if (response.ok) return new Uint8Array(await response.arrayBuffer());
      } catch {
        // This node does not answer: ask the next.
      }
    }
    return undefined;
  }
}
