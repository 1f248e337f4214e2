import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { toHex, type Address, type Digest, type Hex32, type NodeId } from "@cloister/core";
import { emptyMarket, type MarketState } from "@cloister/market";
import { encodeGoal } from "@cloister/node";
import type { Client, NodeStatus } from "../src/network/client.ts";
import { groupKeys, retireGroup, rotateGroup } from "../src/network/group-keys.ts";
import { layoutOf } from "../src/network/layout.ts";

const OWNER = `0x${"33".repeat(20)}` as Address;
const NODES = ["0xa1", "0xa2", "0xa3"] as unknown as NodeId[];
const home = mkdtempSync(join(tmpdir(), "cloister-group-keys-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

interface World {
  readonly state: MarketState;
  readonly client: Client;
  readonly sent: string[];
}

function worldOf(goals: Readonly<Record<string, "active" | "retired">>, held: readonly string[]): World {
  const state = emptyMarket();
  for (const [i, [goalId, stage]] of Object.entries(goals).entries()) {
    const goal = { id: goalId, kind: "key-release", size: { min: 3, max: 3 } } as const;
    const document = stage === "active" ? toHex(encodeGoal(goal)) : "";
    state.goals.set(`0x0${i}` as Hex32, { goalId, owner: OWNER, document });
  }
  const sent: string[] = [];
  const pages = NODES.map((id): NodeStatus => {
    const keys = held.map((goalId) => ({
      ...{ goalId, groupId: `sha256:${goalId}` as Digest, epoch: 1, groupEpoch: 1 },
      ...{ threshold: 2, members: NODES, settled: true },
    }));
    return { name: id, id, keys };
  });
  const chain = {
    deployment: { registry: OWNER },
    refresh: async () => ({ state }),
    send: async ({ name }: { name: string }) => void sent.push(name),
  };
  const client = { layout: layoutOf(home), chain, nodes: async () => pages } as unknown as Client;
  return { state, client, sent };
}

function foundHere(): void {
  writeFileSync(join(home, "host-secrets.json"), JSON.stringify({ deployer: "11".repeat(32) }));
}

describe("the keys of key-release, as a person sees them", () => {
  test("the last key that enough members hold is current; those before it open", async () => {
    const { client } = worldOf({ "key-release": "active", "key-release.2": "active" }, [
      "key-release",
      "key-release.2",
    ]);
    const keys = await groupKeys(client);
    expect(keys.map(({ goalId, state }) => [goalId, state])).toEqual([
      ["key-release", "opens"],
      ["key-release.2", "current"],
    ]);
  });

  test("a key that nobody holds yet is pending, and the one before stays current", async () => {
    const { client } = worldOf({ "key-release": "active", "key-release.2": "active" }, ["key-release"]);
    expect((await groupKeys(client)).map(({ state }) => state)).toEqual(["current", "pending"]);
  });

  test("a second rotation waits for the first", async () => {
    const { client, sent } = worldOf({ "key-release": "active", "key-release.2": "active" }, ["key-release"]);
    await expect(rotateGroup(client, 0)).rejects.toMatchObject({ code: "GROUP_ROTATION_PENDING" });
    expect(sent).toEqual([]);
  });

  test("a rotation without a group is refused", async () => {
    const { client } = worldOf({}, []);
    await expect(rotateGroup(client, 0)).rejects.toMatchObject({ code: "GROUP_UNKNOWN" });
  });

  test("only where the network was founded are keys rotated and retired", async () => {
    rmSync(join(home, "host-secrets.json"), { force: true });
    const { client, sent } = worldOf({ "key-release": "active" }, ["key-release"]);
    await expect(rotateGroup(client, 0)).rejects.toMatchObject({ code: "GROUP_NOT_FOUNDER" });
    expect(sent).toEqual([]);
  });

  test("a rotation that takes too long says so, and goes on", async () => {
    foundHere();
    const { client, sent } = worldOf({ "key-release": "active" }, ["key-release"]);
    await expect(rotateGroup(client, 0)).rejects.toMatchObject({ code: "GROUP_TIMEOUT" });
    expect(sent).toEqual(["declareGoal"]);
  });

  test("the current key, and one that there is none of, are not retired; an old one is", async () => {
    foundHere();
    const { client, sent } = worldOf({ "key-release": "active", "key-release.2": "active" }, [
      "key-release",
      "key-release.2",
    ]);
    await expect(retireGroup(client, "key-release.2")).rejects.toMatchObject({ code: "GROUP_IS_CURRENT" });
    await expect(retireGroup(client, "compute")).rejects.toMatchObject({ code: "GROUP_UNKNOWN" });
    expect(sent).toEqual([]);
    await retireGroup(client, "key-release");
    expect(sent).toEqual(["declareGoal"]);
  });
});
