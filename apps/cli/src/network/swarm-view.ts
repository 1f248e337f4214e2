import type { Address, NodeId } from "@cloister/core";
import { isNodeActive, NODE_ROLES, type MarketState } from "@cloister/market";
import { declaredGoals, type DeclaredGoal, type Machine } from "@cloister/node";
import { quorumOf, type GroupRecord, type MemberStatus } from "@cloister/swarm";
import type { Client, NodeStatus, PeerStatus, ProcessStatus } from "./client.ts";
import type { NodeEvent } from "./events.ts";

/** One member of the swarm: what the chain admits, what an observer sees of it, what its peers attested. */
export interface Member {
  readonly name: string;
  readonly id: NodeId;
  readonly operator: Address;
  readonly endpoint: string;
  /** What the chain's registry says: `active`, or why it is not. */
  readonly registered: string;
  readonly voter: boolean;
  readonly certifiedUntilMs: number;
  /** As the observer sees it. */
  readonly state: MemberStatus;
  readonly incarnation: number | undefined;
  readonly rttMs: number | undefined;
  readonly connected: boolean;
  /** Whether its own status page answers. */
  readonly answers: boolean;
  readonly role: string | undefined;
  readonly draining: boolean;
  /** The observer holds its measurements for untrue: they contradict those of most others. */
  readonly distrusted: boolean;
  /** As its peers' last judgement of its evidence has it. */
  readonly evidence:
    | Pick<PeerStatus, "tee" | "simulated" | "tcbStatus" | "attestedMs" | "machine">
    | undefined;
  readonly groups: readonly string[];
  readonly running: number;
  readonly process: ProcessStatus | undefined;
  readonly traffic: NodeStatus["traffic"];
}

/** The swarm as one observer sees it: the leader where it answers, else the first node that does. */
export interface SwarmSnapshot {
  readonly atMs: number;
  readonly chainId: number;
  readonly block: number;
  readonly simulated: boolean;
  readonly term: number;
  readonly leader: NodeId | undefined;
  readonly observer: NodeId | undefined;
  readonly voters: number;
  readonly quorum: number;
  readonly members: readonly Member[];
  readonly groups: readonly GroupRecord[];
  readonly goals: readonly DeclaredGoal[];
  /** Why goals are not met, in the leader's words. */
  readonly unmet: Readonly<Record<string, string>>;
  readonly openOrders: number;
  readonly events: readonly (NodeEvent & { readonly node: string })[];
  /** Milliseconds between two members as the first of them measured it. */
  rttMs(from: NodeId, to: NodeId): number | undefined;
  /** Bandwidth from the first to the second, where a goal had it measured. */
  bandwidthMbps(from: NodeId, to: NodeId): number | undefined;
}

/** Asks the chain and every node's status page, and puts together what they say. */
export async function snapshotOf(client: Client, nowMs: number): Promise<SwarmSnapshot> {
  const { state, block } = await client.chain.refresh();
  const pages = await client.nodes();
  const byId = new Map(pages.flatMap((page) => (page.id === undefined ? [] : [[page.id, page] as const])));
  const leader = state.term.leader;
  const ready = [...byId.values()].filter(({ swarm }) => swarm !== undefined);
  const observer = ready.find(({ id }) => id === leader) ?? ready[0];
  const members = [...state.nodes.keys()].map((id) => memberOf({ id, state, nowMs, byId, observer, client }));
  const voters = members.filter(({ voter, registered }) => voter && registered === "active").length;
  return {
    atMs: nowMs,
    chainId: client.network.chainId,
    block: block.number,
    simulated: client.network.simulated,
    term: state.term.term,
    leader,
    observer: observer?.id,
    voters,
    quorum: quorumOf(voters),
    members: members.toSorted((a, b) => compareNames(a.name, b.name)),
    groups: groupsOf(state),
    goals: declaredGoals(state),
    unmet: observer?.swarm?.unmet ?? {},
    openOrders: state.openOrders.size,
    events: pages
      .flatMap(({ name, events }) => (events ?? []).map((event) => ({ ...event, node: name })))
      .toSorted((a, b) => a.atMs - b.atMs),
    rttMs: (from, to) => measuredRtt(byId.get(from), to),
    bandwidthMbps: (from, to) => byId.get(from)?.swarm?.members.find(({ id }) => id === to)?.bandwidthMbps,
  };
}

interface Sources {
  readonly id: NodeId;
  readonly state: MarketState;
  readonly nowMs: number;
  readonly byId: ReadonlyMap<NodeId, NodeStatus>;
  readonly observer: NodeStatus | undefined;
  readonly client: Client;
}

function memberOf({ id, state, nowMs, byId, observer, client }: Sources): Member {
  const node = state.nodes.get(id) as NonNullable<ReturnType<MarketState["nodes"]["get"]>>;
  const page = byId.get(id);
  const seen = observer?.swarm?.members.find((member) => member.id === id);
  const { operator, roles, notAfterSeconds } = node.certificate;
  const known = client.network.nodes.find(({ endpoint }) => endpoint === node.endpoint)?.name;
  return {
    ...{ id, operator, endpoint: node.endpoint },
    name: page?.name ?? known ?? id.slice(0, 10),
    registered: isNodeActive(state, id, nowMs) ? "active" : inactiveWord(node.status, notAfterSeconds, nowMs),
    voter: (roles & NODE_ROLES.voter) !== 0,
    certifiedUntilMs: notAfterSeconds * 1000,
    state: seen?.status ?? "unknown",
    incarnation: seen?.incarnation,
    rttMs: id === observer?.id ? undefined : seen?.rttMs,
    connected: seen?.connected ?? false,
    answers: page !== undefined,
    role: page?.swarm?.role,
    draining: page?.draining ?? false,
    distrusted: observer?.swarm?.distrusted.includes(id) ?? false,
    evidence: evidenceOf(id, byId),
    groups: groupsOf(state).flatMap(({ goalId, members }) => (members.includes(id) ? [goalId] : [])),
    running: page?.work?.filter(({ state: one }) => one === "running").length ?? 0,
    process: page?.process,
    traffic: page?.traffic,
  };
}

/** The groups that somebody keeps together: nobody does for a goal that was retired. */
function groupsOf(state: MarketState): GroupRecord[] {
  const ended = new Set(
    declaredGoals(state).flatMap(({ goalId, goal }) => (goal === undefined ? [goalId] : [])),
  );
  return [...state.groups.values()].filter(({ goalId }) => !ended.has(goalId));
}

function inactiveWord(status: string, notAfterSeconds: number, nowMs: number): string {
  return status === "active" ? (notAfterSeconds * 1000 <= nowMs ? "expired" : "not approved") : status;
}

/** A member's evidence as its peers judged it last; the oldest of their judgements counts. */
function evidenceOf(id: NodeId, byId: ReadonlyMap<NodeId, NodeStatus>): Member["evidence"] {
  const judged = [...byId.values()].flatMap(({ peers }) => (peers ?? []).filter((peer) => peer.id === id));
  const [oldest] = judged.toSorted((a, b) => a.attestedMs - b.attestedMs);
  if (oldest === undefined) return undefined;
  const { tee, simulated, tcbStatus, attestedMs, machine } = oldest;
  return { tee, simulated, tcbStatus, attestedMs, machine };
}

function measuredRtt(page: NodeStatus | undefined, to: NodeId): number | undefined {
  const seen = page?.swarm?.members.find(({ id }) => id === to);
  return seen?.measured === true ? seen.rttMs : undefined;
}

function compareNames(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

/** What a machine without evidence counts as: nothing is known of it. */
export const UNKNOWN_MACHINE: Machine = { cpus: 0, memoryBytes: 0, gpus: 0 };
