import { setTimeout as wait } from "node:timers/promises";
import { CloisterError, fromHex } from "@cloister/core";
import { declareGoal } from "@cloister/market";
import { declaredGoals, encodeGoal, keyGoals, nextKeyGoalId, type KeyView } from "@cloister/node";
import type { Client } from "./client.ts";
import { founderSecrets } from "./founder.ts";

const POLL_MS = 250;

/** One key of key-release: as the chain asks for it, and as its members say they hold it. */
export interface GroupKeyView {
  readonly goalId: string;
  readonly state: "current" | "opens" | "pending" | "retired";
  readonly groupId?: string;
  readonly epoch?: number;
  readonly threshold?: number;
  /** Members that say they hold a share of this epoch. */
  readonly holders: readonly string[];
  readonly settled: boolean;
}

/** All keys of the network, oldest first. */
export async function groupKeys(client: Client): Promise<GroupKeyView[]> {
  const { state } = await client.chain.refresh();
  const nodes = await client.nodes();
  const said = nodes.flatMap(({ id, keys = [] }) => keys.map((key) => ({ ...key, holder: id ?? "" })));
  const views = keyGoals(state).map(({ goalId, retired }) => viewOf(goalId, retired, said));
  const current = views.findLast(({ state: stage }) => stage === "opens");
  return views.map((view) => (view === current ? { ...view, state: "current" } : view));
}

function viewOf(
  goalId: string,
  retired: boolean,
  said: readonly (KeyView & { readonly holder: string })[],
): GroupKeyView {
  const own = said.filter((key) => key.goalId === goalId).toSorted((a, b) => b.epoch - a.epoch);
  const [newest] = own;
  if (retired) return { goalId, state: "retired", holders: [], settled: true };
  if (newest === undefined) return { goalId, state: "pending", holders: [], settled: false };
  const { groupId, epoch, threshold } = newest;
  const holders = own.filter((key) => key.epoch === epoch);
  const settled = holders.length === newest.members.length && holders.every((key) => key.settled);
  const state = holders.length >= threshold ? "opens" : "pending";
  return { goalId, state, groupId, epoch, threshold, holders: holders.map(({ holder }) => holder), settled };
}

/**
 * Asks the network for a new key, and waits until its members hold it. Keys before it still open.
 * @throws {CloisterError} `GROUP_NOT_FOUNDER`, `GROUP_ROTATION_PENDING`, `GROUP_TIMEOUT`
 */
export async function rotateGroup(client: Client, withinMs: number): Promise<GroupKeyView> {
  const keys = await groupKeys(client);
  const pending = keys.find(({ state }) => state === "pending");
  if (pending !== undefined) {
    throw new CloisterError("GROUP_ROTATION_PENDING", `The key ${pending.goalId} is not made yet.`, {
      hint: "Wait for it: `cloister group list` shows it; each rotation needs the one before to end.",
    });
  }
  const { state } = await client.chain.refresh();
  const goalId = nextKeyGoalId(keyGoals(state));
  const goal = declaredGoals(state).findLast((one) => one.goal?.kind === "key-release")?.goal;
  if (goalId === undefined || goal === undefined) {
    throw new CloisterError("GROUP_UNKNOWN", "This network has no key-release group.");
  }
  await declare(client, goalId, encodeGoal({ ...goal, id: goalId }));
  for (const endMs = Date.now() + withinMs; ;) {
    const made = (await groupKeys(client)).find((key) => key.goalId === goalId);
    if (made?.state === "current") return made;
    if (Date.now() > endMs) {
      throw new CloisterError("GROUP_TIMEOUT", `The key ${goalId} is not made yet.`, {
        hint: "It goes on without you: look again with `cloister group list`.",
      });
    }
    await wait(POLL_MS);
  }
}

/**
 * Has the members forget a key that is not the current one: what is sealed to it alone stays closed for good.
 * @throws {CloisterError} `GROUP_UNKNOWN`, `GROUP_IS_CURRENT`, `GROUP_NOT_FOUNDER`
 */
export async function retireGroup(client: Client, goalId: string): Promise<void> {
  const keys = await groupKeys(client);
  const key = keys.find((one) => one.goalId === goalId);
  if (key === undefined) {
    throw new CloisterError("GROUP_UNKNOWN", `There is no key ${goalId}.`, {
      hint: "`cloister group list` shows the keys that there are.",
    });
  }
  if (key.state === "current" || key.state === "pending") {
    throw new CloisterError("GROUP_IS_CURRENT", `Owners seal to ${goalId}, or soon will.`, {
      hint: "Make a new key with `cloister group rotate` first.",
    });
  }
  await declare(client, goalId, new Uint8Array());
}

/** Goals are changed by who declared them: in a local network, the founder's account on this host. */
async function declare(client: Client, goalId: string, document: Uint8Array): Promise<void> {
  const { deployer } = founderSecrets(client, "GROUP_NOT_FOUNDER");
  await client.chain.send(declareGoal(client.chain.deployment, goalId, document), fromHex(deployer));
}
