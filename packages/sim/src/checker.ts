import type { NodeId, OrderId } from "@cloister/core";
import {
  COMMITTEE_MAX,
  directoryOf,
  quorumOf,
  UPDATES_PER_MESSAGE_MAX,
  type Assignment,
  type Effect,
  type Goal,
  type Message,
  type RegistryView,
  type Signatures,
  type Timing,
} from "@cloister/swarm";

/** A broken promise: which one, when, and by whom. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
  readonly code: string;
  readonly atMs: number;

  constructor(code: string, atMs: number, what: string) {
    super(`${code} at ${atMs.toFixed(1)} ms: ${what}`);
    this.code = code;
    this.atMs = atMs;
  }
}

/** What the checker is told about the node whose step it looks at. */
export interface StepFacts {
  readonly node: NodeId;
  readonly atMs: number;
  readonly localMs: number;
  /** The view this node was last given. */
  readonly view: RegistryView;
  readonly timing: Timing;
  readonly goals: readonly Goal[];
  /** What its disk holds as the effect is carried out. */
  readonly durableVotedTerm: number;
  readonly durableOrders: ReadonlySet<OrderId>;
  /** Its disk was lost or torn in an earlier life: it may have forgotten. */
  readonly forgot: boolean;
  readonly drained: boolean;
  /** Its first step since it started: work in its record is resumed then. */
  readonly resuming: boolean;
  /** Peers whose evidence it was last told to be bad. */
  readonly refusedPeers: ReadonlySet<NodeId>;
  readonly verifies: Signatures["verify"];
  /** When each voter's last lease renewal for a term reached this node, by voter and term, on its clock. */
  readonly renewals: ReadonlyMap<string, number>;
}

/**
 * The named invariants. Each is stated over effects and the chain alone, so that it holds the core to
 * what it does and not to what it believes. spec/swarm.md §8
 */
export class Checker {
  readonly #votes = new Map<string, NodeId>();
  readonly #actors = new Map<number, NodeId>();
  readonly #chainLeaders = new Map<number, Set<NodeId>>();
  readonly #assigned = new Set<string>();
  readonly #settled = new Map<OrderId, string>();
  /** Exclusive groups that one leader puts forward in one step. */
  #plan:
    | { readonly node: NodeId; readonly atMs: number; readonly view: RegistryView; readonly groups: Group[] }
    | undefined;
  checks = 0;

  /** Holds one effect against the invariants, just before it is carried out. */
  effect(effect: Effect, facts: StepFacts): void {
    this.checks++;
    switch (effect.kind) {
      case "send":
        return this.#sent(effect.message, effect.to, facts);
      case "publish-term":
        return this.#certificate(effect.certificate, facts);
      case "publish-group":
        this.#acts(effect.group.term, facts, "publish-group");
        return this.#group(effect.group, facts);
      case "assign":
        this.#acts(effect.assignment.term, facts, "assign");
        return this.#assignment(effect, facts);
      case "run":
        return this.#run(effect, facts);
      case "persist":
      case "abandon":
      case "connect":
      case "disconnect":
      case "log":
        return;
    }
  }

  /** Probes and their answers are most of what is sent: little is asked of each. */
  probe({ updates }: Extract<Message, { kind: "ping" | "ack" }>, atMs: number): void {
    if (updates.length > UPDATES_PER_MESSAGE_MAX)
      broken("MESSAGE_BOUNDED", atMs, `${updates.length} updates`);
  }

  #sent(message: Message, to: NodeId, facts: StepFacts): void {
    if (to === facts.node) broken("NO_SEND_TO_SELF", facts.atMs, facts.node);
    if (facts.refusedPeers.has(to)) broken("SENDS_ONLY_TO_ATTESTED", facts.atMs, `${facts.node} to ${to}`);
    if (message.kind === "vote") this.#vote(message, facts);
    if (message.kind === "report") {
      for (const { orderId } of message.work) {
        if (facts.durableOrders.has(orderId)) continue;
        broken("ACCEPTED_ORDER_DURABLE", facts.atMs, `${facts.node} reports ${orderId} unpersisted`);
      }
    }
    if (message.kind === "assignment") this.#acts(message.assignment.term, facts, "assignment");
  }

  /** A voter gives a term to one candidate, whatever happens to it in between, unless its disk forgot. */
  #vote(message: Extract<Message, { kind: "vote" }>, facts: StepFacts): void {
    if (facts.durableVotedTerm < message.term) {
      broken("VOTE_DURABLE_FIRST", facts.atMs, `${facts.node} in term ${message.term}`);
    }
    const key = `${facts.node} ${message.term}`;
    const before = this.#votes.get(key);
    if (before !== undefined && before !== message.candidate && !facts.forgot) {
      broken("ONE_VOTE_PER_TERM", facts.atMs, `${facts.node} in term ${message.term}`);
    }
    this.#votes.set(key, message.candidate);
  }

  #certificate(
    certificate: Extract<Effect, { kind: "publish-term" }>["certificate"],
    facts: StepFacts,
  ): void {
    const registered = directoryOf(facts.view.members);
    const voters = new Set(certificate.votes.map(({ voter }) => voter));
    if (certificate.leader !== facts.node) broken("CERTIFICATE_OF_OWN", facts.atMs, facts.node);
    if (voters.size !== certificate.votes.length) broken("CERTIFICATE_DISTINCT", facts.atMs, facts.node);
    for (const { voter, signature } of certificate.votes) {
      const vote = { kind: "vote", term: certificate.term, candidate: certificate.leader } as const;
      if (!facts.verifies(vote, voter, signature)) broken("CERTIFICATE_GENUINE", facts.atMs, voter);
    }
    const counted = [...voters].filter(registered.isVoter).length;
    const fresh = certificate.term > facts.view.term;
    // The voters may have changed since the certificate was made; then the chain judges.
    if (fresh && counted < quorumOf(registered.voters.length) && counted === voters.size) {
      broken("CERTIFICATE_QUORUM", facts.atMs, `${counted} of ${registered.voters.length} votes`);
    }
  }

  /** Whoever acts for a term is the one leader that the chain gave it to, as this node last saw it. */
  #acts(term: number, facts: StepFacts, what: string): void {
    const { view, node, atMs } = facts;
    if (view.term !== term || view.leader !== node) {
      broken("ACTS_ONLY_CONFIRMED", atMs, `${node}: ${what} in term ${term}, chain shows ${view.term}`);
    }
    const other = this.#actors.get(term);
    if (other !== undefined && other !== node && (this.#chainLeaders.get(term)?.size ?? 0) < 2) {
      broken("ONE_ACTOR_PER_TERM", atMs, `${node} and ${other} in term ${term}`);
    }
    this.#actors.set(term, node);
    if (facts.drained) broken("DRAINED_DOES_NOT_ACT", atMs, node);
    this.#lease(facts, what);
  }

  /** A quorum of voters renewed the lease within its time. */
  #lease(facts: StepFacts, what: string): void {
    const { voters } = directoryOf(facts.view.members);
    const watchers = Math.min(voters.length, COMMITTEE_MAX);
    let renewed = 0;
    for (const voter of voters) {
      const renewedMs = facts.renewals.get(`${voter} ${facts.view.term}`) ?? -Infinity;
      const fresh = facts.localMs - renewedMs <= facts.timing.leaseMs;
      if (voter === facts.node || fresh) renewed++;
    }
    if (renewed < quorumOf(watchers)) {
      broken("LEASE_HELD", facts.atMs, `${facts.node}: ${what} with ${renewed} of ${watchers}`);
    }
  }

  #group(group: Group, facts: StepFacts): void {
    const { view, atMs } = facts;
    this.#apart(group, facts);
    const before = view.groups.find(({ goalId }) => goalId === group.goalId);
    if (group.epoch !== (before?.epoch ?? 0) + 1) {
      broken("EPOCH_GROWS_BY_ONE", atMs, `${group.goalId}: ${before?.epoch ?? 0} to ${group.epoch}`);
    }
    if (new Set(group.members).size !== group.members.length) {
      broken("GROUP_DISTINCT", atMs, group.goalId);
    }
    for (const member of group.members) {
      const record = view.members.find(({ id }) => id === member);
      if (record === undefined || record.eligible === false) {
        broken("GROUP_OF_ELIGIBLE", atMs, `${member} in ${group.goalId}`);
      }
    }
  }

  /** A leader that looks at one view gives no member to two goals that share none; a later view may show it another plan. */
  #apart(group: Group, { goals, node, view, atMs }: StepFacts): void {
    if (this.#plan?.node !== node || this.#plan.atMs !== atMs || this.#plan.view !== view) {
      this.#plan = { node, atMs, view, groups: [] };
    }
    const isExclusive = (goalId: string): boolean => {
      return goals.some(({ id, shared }) => id === goalId && shared === false);
    };
    if (!isExclusive(group.goalId)) return;
    for (const other of this.#plan.groups) {
      const both =
        other.goalId === group.goalId ? undefined : other.members.find((id) => group.members.includes(id));
      if (both === undefined) continue;
      broken("EXCLUSIVE_GROUPS_APART", atMs, `${both} for ${group.goalId} and ${other.goalId}`);
    }
    this.#plan.groups.push(group);
  }

  #assignment(effect: Extract<Effect, { kind: "assign" }>, facts: StepFacts): void {
    const { assignment } = effect;
    const record = facts.view.members.find(({ id }) => id === assignment.node);
    if (record === undefined || record.eligible === false) {
      broken("WORK_ON_ELIGIBLE", facts.atMs, assignment.node);
    }
    const group = facts.view.groups.find(({ goalId }) => goalId === assignment.goalId);
    if (group === undefined || group.epoch !== assignment.epoch) {
      broken("WORK_ON_CONFIRMED_GROUP", facts.atMs, `${assignment.goalId} epoch ${assignment.epoch}`);
    }
    if (!group.members.includes(assignment.node)) {
      broken("WORK_ON_GROUP_MEMBER", facts.atMs, assignment.node);
    }
  }

  /** Work begins only on an assignment that a leader made for this node, and that is durable here. */
  #run(effect: Extract<Effect, { kind: "run" }>, facts: StepFacts): void {
    const { assignment } = effect;
    if (assignment.node !== facts.node) broken("RUN_OWN_ORDERS", facts.atMs, facts.node);
    if (assignment.term < facts.view.term && !facts.resuming) {
      broken("RUN_FENCED", facts.atMs, `${facts.node} begins term ${assignment.term} in ${facts.view.term}`);
    }
    if (!this.#assigned.has(assignmentKey(assignment))) {
      broken("RUN_ONLY_ASSIGNED", facts.atMs, `${facts.node} runs ${assignment.orderId}`);
    }
    if (!facts.durableOrders.has(assignment.orderId)) {
      broken("RUN_DURABLE_FIRST", facts.atMs, `${facts.node} runs ${assignment.orderId}`);
    }
  }

  /** A signature was made by a node's own port: the only way that an assignment comes to be. */
  signedAssignment(assignment: Assignment): void {
    this.#assigned.add(assignmentKey(assignment));
  }

  /** The chain moved. A term may change hands only when the blocks that gave it were taken back. */
  block(view: RegistryView, reorganised: boolean, atMs: number): void {
    this.checks++;
    if (view.term === 0 || view.leader === undefined) return;
    let leaders = this.#chainLeaders.get(view.term);
    if (leaders === undefined) {
      leaders = new Set();
      this.#chainLeaders.set(view.term, leaders);
    }
    leaders.add(view.leader);
    if (leaders.size > 1 && !reorganised) broken("ONE_LEADER_PER_TERM", atMs, `term ${view.term}`);
  }

  /** An order is paid once. */
  settlement(orderId: OrderId, by: string, reorganised: boolean, atMs: number): void {
    const before = this.#settled.get(orderId);
    if (before !== undefined && before !== by && !reorganised) {
      broken("SETTLED_ONCE", atMs, `${orderId} by ${before} and ${by}`);
    }
    this.#settled.set(orderId, by);
  }

  /** A node says that it leads only while the chain, as it last saw it, says so. */
  role(node: NodeId, role: string, view: RegistryView, atMs: number): void {
    this.checks++;
    if (role === "leader" && view.leader !== node) {
      broken("LEADS_ONLY_CONFIRMED", atMs, `${node} says so, the chain names ${view.leader ?? "nobody"}`);
    }
  }

  /** Sizes of one node's tables; a flood must not grow them. */
  sizes(node: NodeId, atMs: number, sizes: Readonly<Record<string, readonly [number, number]>>): void {
    for (const [name, [size, max]] of Object.entries(sizes)) {
      if (size > max) broken("TABLES_BOUNDED", atMs, `${node}: ${name} holds ${size} of ${max}`);
    }
  }
}

type Group = Extract<Effect, { kind: "publish-group" }>["group"];

function assignmentKey({ orderId, node, term, epoch, goalId }: Assignment): string {
  return `${orderId} ${node} ${term} ${epoch} ${goalId}`;
}

export function broken(code: string, atMs: number, what: string): never {
  throw new InvariantError(code, atMs, what);
}
