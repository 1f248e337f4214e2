import { CloisterError } from "@cloister/core";
import { declareGoal, type MarketState } from "@cloister/market";
import { declaredGoals, encodeGoal, RETIRED_GOAL, type DeclaredGoal } from "@cloister/node";
import type { Goal } from "@cloister/swarm";
import type { Account } from "./accounts.ts";
import type { Client } from "./client.ts";

/** Puts goals on the chain, or changes the account's own. @throws {CloisterError} `GOAL_NOT_YOURS` */
export async function declare(client: Client, account: Account, goals: readonly Goal[]): Promise<void> {
  const { state } = await client.chain.refresh();
  for (const { id } of goals) requireOwn(state, id, account);
  for (const goal of goals) {
    await client.chain.send(declareGoal(client.chain.deployment, goal.id, encodeGoal(goal)), account.secret);
  }
  await client.durable();
}

/** Ends a goal of the account's. @throws {CloisterError} `GOAL_UNKNOWN`, `GOAL_NOT_YOURS` */
export async function retire(client: Client, account: Account, goalId: string): Promise<void> {
  const { state } = await client.chain.refresh();
  findGoal(declaredGoals(state), goalId);
  requireOwn(state, goalId, account);
  await client.chain.send(declareGoal(client.chain.deployment, goalId, RETIRED_GOAL), account.secret);
  await client.durable();
}

/** @throws {CloisterError} `GOAL_UNKNOWN`, naming those that there are */
export function findGoal(goals: readonly DeclaredGoal[], goalId: string): DeclaredGoal {
  const found = goals.find((goal) => goal.goalId === goalId);
  if (found !== undefined) return found;
  const known = goals.map((goal) => goal.goalId).join(", ");
  throw new CloisterError("GOAL_UNKNOWN", `The chain declares no goal "${goalId}".`, {
    hint: known === "" ? "It declares none yet." : `It declares ${known}.`,
  });
}

function requireOwn(state: MarketState, goalId: string, account: Account): void {
  const there = declaredGoals(state).find((goal) => goal.goalId === goalId);
  if (there === undefined || there.owner === account.address) return;
  throw new CloisterError("GOAL_NOT_YOURS", `The goal ${goalId} belongs to ${there.owner}.`, {
    hint: "Declare yours under another id; only its owner changes or retires a goal.",
  });
}
