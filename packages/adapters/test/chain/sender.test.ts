import { describe, expect, test } from "vitest";
import type { Address } from "@cloister/core";
import { JsonRpcError, type JsonRpc } from "../../src/chain/json-rpc.ts";
import { Sender } from "../../src/chain/sender.ts";
import { secretOf } from "./world.ts";

const TO = `0x${"44".repeat(20)}` as Address;
const CALL = { name: "call", to: TO, data: "0x", valueWei: 0n } as const;
const never = async (): Promise<boolean> => false;

/** A node that answers from a table; a function may throw. */
function nodeOf(answers: Readonly<Record<string, () => unknown>>): JsonRpc {
  const usual: Record<string, () => unknown> = {
    eth_getBalance: () => "0xffffffffffff",
    eth_estimateGas: () => "0x5208",
    eth_getTransactionCount: () => "0x0",
    eth_getBlockByNumber: () => ({ baseFeePerGas: "0x1" }),
    eth_sendRawTransaction: () => "0x",
    eth_getTransactionReceipt: () => ({ status: "0x1", blockNumber: "0x7", gasUsed: "0x5208" }),
    ...answers,
  };
  return { url: "memory", request: async <T>(method: string): Promise<T> => usual[method]?.() as T };
}

function refusing(message: string): () => never {
  return () => {
    throw new JsonRpcError("eth_sendRawTransaction", message, undefined);
  };
}

describe("sending", () => {
  test("gives the block of the receipt", async () => {
    const sent = await new Sender(nodeOf({}), 1).send(CALL, secretOf("a"), never);
    expect(sent).toMatchObject({ kind: "mined", block: 7, gasUsed: 21_000n });
  });

  test("tries again when its nonce is taken, and gives up with a code", async () => {
    const node = nodeOf({ eth_sendRawTransaction: refusing("nonce too low") });
    const sending = new Sender(node, 1).send(CALL, secretOf("a"), never);
    await expect(sending).rejects.toMatchObject({ code: "CHAIN_TIMEOUT" });
  });

  test("waits for a transaction that the node knows already", async () => {
    const node = nodeOf({ eth_sendRawTransaction: refusing("already known") });
    expect((await new Sender(node, 1).send(CALL, secretOf("a"), never)).kind).toBe("mined");
  });

  test("sends nothing when somebody else did the same meanwhile", async () => {
    let asked = 0;
    const node = nodeOf({ eth_estimateGas: refusing("execution reverted") });
    const done = async (): Promise<boolean> => ++asked > 1;
    expect(await new Sender(node, 1).send(CALL, secretOf("a"), done)).toEqual({ kind: "already" });
  });

  test("says that a mined call was refused", async () => {
    const receipt = { status: "0x0", blockNumber: "0x7", gasUsed: "0x1" };
    const node = nodeOf({ eth_getTransactionReceipt: () => receipt, eth_call: () => "0x" });
    const sending = new Sender(node, 1).send(CALL, secretOf("a"), never);
    await expect(sending).rejects.toMatchObject({ code: "CHAIN_REVERTED" });
  });

  test("says who lacks coin for gas", async () => {
    const node = nodeOf({ eth_estimateGas: refusing("insufficient funds for gas * price + value") });
    const sending = new Sender(node, 1).send(CALL, secretOf("a"), never);
    await expect(sending).rejects.toMatchObject({ code: "INSUFFICIENT_FUNDS" });
  });
});
