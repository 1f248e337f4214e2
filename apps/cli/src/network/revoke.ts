import { CloisterError, codeOf, fromHex, parseAddress, type NodeId } from "@cloister/core";
import { revokeNode, signStatement } from "@cloister/market";
import type { Client } from "./client.ts";
import { founderSecrets } from "./founder.ts";

/**
 * Has the builder of this network revoke a node: for good, and with effect at once on the chain.
 * @throws {CloisterError} `NODE_NOT_FOUND`, `NODE_NOT_FOUNDER`, `NODE_REVOKED`
 */
export async function revokeByName(client: Client, name: string): Promise<NodeId> {
  const pages = await client.nodes();
  const node = pages.find((page) => page.name === name)?.id ?? addressIn(name);
  const { state } = await client.chain.refresh();
  const record = node === undefined ? undefined : state.nodes.get(node);
  if (node === undefined || record === undefined) {
    throw new CloisterError("NODE_NOT_FOUND", `There is no node "${name}" in this network.`, {
      hint: "`cloister node list` shows the nodes that are registered.",
    });
  }
  if (record.status === "barred") {
    throw new CloisterError("NODE_REVOKED", `The node ${node} was revoked.`, {
      hint: "Nothing is left to do: it can never come back under this key.",
    });
  }
  const { builder, deployer } = founderSecrets(client, "NODE_NOT_FOUNDER");
  const { deployment } = client.chain;
  const signature = signStatement(deployment, "NodeRevocation", { node }, fromHex(builder));
  await client.chain.send(revokeNode(deployment, node, [signature]), fromHex(deployer));
  return node;
}

function addressIn(text: string): NodeId | undefined {
  try {
    return parseAddress(text);
  } catch (error) {
    if (codeOf(error) !== "ADDRESS_MALFORMED") throw error;
    return undefined;
  }
}
