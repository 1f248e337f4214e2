import { afterEach, expect, test } from "vitest";
import { encodeLogEntry } from "@cloister/certification";
import { ed25519Signer, type Cbor, type RecordStore } from "@cloister/core";
import type { Chain } from "@cloister/market";
import { AuthorityNode } from "../src/authority-node.ts";
import type { Cvm } from "../src/cvm.ts";
import { loadOrCreateKeys } from "../src/keys.ts";
import type { Peer, Transport } from "../src/ports.ts";
import type { Verifier } from "../src/verifier.ts";
import { Disk, entropy } from "./key-room.ts";

const PEER = { id: `0x${"11".repeat(20)}` } as Peer;
const running: AuthorityNode[] = [];
afterEach(() => {
  for (const node of running.splice(0)) node.stop();
});

/** A keeper of a log that nobody has founded: the log itself works from the start. */
async function keeper(): Promise<AuthorityNode> {
  const records: RecordStore = new Disk();
  const keys = await loadOrCreateKeys(records, entropy);
  const address = `0x${"22".repeat(20)}`;
  const ports = {
    cvm: { keys, sign: ed25519Signer(keys.identitySeed), sealed: records, tee: {} } as unknown as Cvm,
    verifier: { policyNow: () => "" } as unknown as Verifier,
    chain: {
      deployment: { chainId: 31_337, market: address, registry: address },
      view: () => undefined,
      refresh: () => Promise.reject(new Error("There is no chain.")),
    } as unknown as Chain,
    records,
    clock: { nowMs: () => 0 },
    timers: { wait: () => new Promise<void>((resolve) => void setTimeout(resolve, 50)) },
    entropy,
    log: { info: () => undefined, warn: () => undefined },
    operatorSecret: new Uint8Array(32),
    founders: [],
    openTransport: async () =>
      ({ view: () => undefined, close: async () => undefined }) as unknown as Transport,
  };
  const node = await AuthorityNode.start(ports);
  running.push(node);
  return node;
}

test("the log takes what can be read, and refuses what nobody could", async () => {
  const node = await keeper();
  const record = (entry: Uint8Array): Promise<Cbor | undefined> =>
    node.handler(PEER, "log.record", { entry });
  await expect(record(new Uint8Array(1_000))).rejects.toMatchObject({ code: "LOG_ENTRY_MALFORMED" });
  await expect(record(new Uint8Array(0))).rejects.toMatchObject({ code: "LOG_ENTRY_MALFORMED" });
  expect(node.logSize).toBe(0);
  const entry = encodeLogEntry({ kind: "order-report", statement: new Uint8Array([1]) });
  expect(await record(entry)).toMatchObject({ index: 0 });
  expect(node.logSize).toBe(1);
});

test("what it does not answer is refused by name, and what is no request too", async () => {
  const node = await keeper();
  await expect(node.handler(PEER, "swarm", null)).rejects.toMatchObject({ code: "METHOD_UNKNOWN" });
  await expect(node.handler(PEER, "log.record", null)).rejects.toMatchObject({ code: "REQUEST_MALFORMED" });
  await expect(node.handler(PEER, "log.prove", { entry: new Uint8Array(3) })).rejects.toMatchObject({
    code: "LOG_INDEX_UNKNOWN",
  });
});

test("it counts its log's entries", async () => {
  const [entries] = (await keeper()).metrics();
  expect(entries).toMatchObject({ name: "cloister_log_entries", samples: [{ value: 0 }] });
});
