import type { NodeId } from "@cloister/core";
import { decodeRecord, nextBelow, type Input, type SwarmState } from "@cloister/swarm";
import { broken } from "../checker.ts";
import type { SimNode, World } from "../world.ts";
import { leaderOf, othersThan, pause, settleDown } from "./steady.ts";

/** How long two machines share one identity. */
const TWIN_MS = 8_000;
const TICK_MS = 10;

/**
 * A machine is cloned, memory of its keys and disk included, and both run: each message for the identity
 * reaches one of them, by chance. Nobody stalls, it is noticed, and it is over when the clone is.
 */
export function runTwin(world: World): void {
  const node = othersThan(world, leaderOf(world))[0] as SimNode;
  const before = noticed(world, node.id);
  const twin = new Twin(world, node);
  world.tap = (to, input) => twin.takes(to, input);
  pause(world, TWIN_MS);
  world.tap = undefined;
  twin.stop();
  if (noticed(world, node.id) + twin.noticed() <= before) broken("TWIN_NOTICED", world.nowMs, node.id);
  settleDown(world);
}

/** Refusals of what a member sent, everywhere, and what it noticed about itself. */
function noticed({ nodes }: World, id: NodeId): number {
  let sum = 0;
  for (const { state, id: own } of nodes) {
    for (const times of state?.refusals.get(id)?.values() ?? []) sum += times;
    if (own === id) sum += state?.counters.get("identity.forgotten") ?? 0;
  }
  return sum;
}

/** The second machine: the production core under the same name, on the same links. */
class Twin {
  readonly #world: World;
  readonly #node: SimNode;
  #state: SwarmState | undefined;

  constructor(world: World, node: SimNode) {
    this.#world = world;
    this.#node = node;
    const nowMs = world.localMs(node);
    this.#state = world.core.init({
      ...world.configOf(node),
      ...{ seed: world.scenario.seed, nowMs },
      record: node.disk === undefined ? undefined : decodeRecord(node.disk),
    });
    this.#feed({ kind: "goals", nowMs, goals: world.goals });
    this.#feed({ kind: "registry", nowMs, view: world.chain.head.view });
    for (const peer of othersThan(world, node)) {
      this.#feed({ kind: "peer-up", nowMs, id: peer.id, verdict: { ok: true, value: {} } });
    }
    this.#tick();
  }

  stop(): void {
    this.#state = undefined;
  }

  noticed(): number {
    return this.#state?.counters.get("identity.forgotten") ?? 0;
  }

  /** Takes every second message or so, and the chain's news with its brother. */
  takes(to: number, input: Input): boolean {
    if (to !== this.#node.index || this.#state === undefined) return false;
    const mine = input.kind === "received" && nextBelow(this.#world.random, 2) === 0;
    if (mine || input.kind === "registry" || input.kind === "orders") this.#feed(input);
    return mine;
  }

  #tick(): void {
    if (this.#state === undefined) return;
    this.#feed({ kind: "tick", nowMs: this.#world.localMs(this.#node) });
    this.#world.schedule(this.#world.nowMs + TICK_MS, () => this.#tick());
  }

  #feed(input: Input): void {
    if (this.#state === undefined) return;
    const { chain, core } = this.#world;
    const { state, effects } = core.step(this.#state, input);
    this.#state = state;
    for (const effect of effects) {
      if (effect.kind === "send")
        this.#world.post(this.#node.index, this.#world.indexOf(effect.to), effect.message);
      if (effect.kind === "publish-term") chain.submit({ kind: "term", certificate: effect.certificate });
      if (effect.kind === "publish-group")
        chain.submit({ kind: "group", group: effect.group, sender: this.#node.id });
    }
  }
}
