import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { connectJsonRpc, JsonRpcError } from "../../src/chain/index.ts";

/** Asks a node that answers so. */
async function ask(answer: string, status = 200): Promise<unknown> {
  const server = createServer((_, response) =>
    response.writeHead(status, { "content-type": "application/json" }).end(answer),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    return await connectJsonRpc(`http://127.0.0.1:${port}`).request("eth_getLogs", []);
  } catch (error) {
    return error;
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("hands on what the node answers", async () => {
  expect(await ask(`{"jsonrpc":"2.0","id":1,"result":["0x1"]}`)).toEqual(["0x1"]);
});

// Some of these codes have a class of their own in viem, some do not.
test.each([-32005, -32602, -32000, -32603, -32601, 3, 4444])(
  "an error %i that the node answers is the node's, not a chain that is away",
  async (code) => {
    const error = { code, message: "more than 10000 results" };
    const got = await ask(JSON.stringify({ jsonrpc: "2.0", id: 1, error }));
    expect(got).toBeInstanceOf(JsonRpcError);
    expect(got).toMatchObject({ code: "CHAIN_RPC_ERROR", message: "more than 10000 results" });
  },
);

test("what a call reverted with is handed on, wherever the node puts it", async () => {
  for (const data of ["0xabcd", { data: "0xabcd" }]) {
    const error = { code: 3, message: "reverted", data };
    expect(await ask(JSON.stringify({ jsonrpc: "2.0", id: 1, error }))).toMatchObject({ data: "0xabcd" });
  }
});

test.each([
  ["no JSON", 200],
  ["<html>bad gateway</html>", 502],
])("a server that answers %j is no chain", async (answer, status) => {
  expect(await ask(answer, status)).toMatchObject({ code: "CHAIN_UNREACHABLE" });
});
