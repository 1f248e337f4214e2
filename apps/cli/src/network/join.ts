import { join } from "node:path";
import { toHex } from "@cloister/core";
import type { Account } from "./accounts.ts";
import { requireFreePort } from "./anvil.ts";
import type { Client } from "./client.ts";
import type { CvmConfig } from "./cvm-process.ts";
import { writeJsonFile } from "./layout.ts";
import { deploymentOf } from "./local-network.ts";

/** Writes the configuration of a node that an account of this host runs, and makes its status page known. */
export async function joinConfig(client: Client, account: Account, port: number): Promise<string> {
  await requireFreePort(port);
  await requireFreePort(port + 1);
  const { platform, records, config } = client.layout.cvm(account.name);
  const { rpcUrl, authority } = client.network;
  const document: CvmConfig = {
    ...{ name: account.name, role: "node", rpcUrl, port, platform, records },
    deployment: deploymentOf(client.network),
    statusPort: port + 1,
    authorityEndpoint: authority.endpoint,
    objects: client.layout.objects,
    votersMin: 1,
    logFile: client.layout.log(account.name),
    identityFile: join(config, "..", "identity.json"),
    operator: account.address,
    operatorSecret: toHex(account.secret),
  };
  writeJsonFile(config, document, 0o600);
  const others = client.network.nodes.filter(({ name }) => name !== account.name);
  const entry = {
    name: account.name,
    endpoint: `127.0.0.1:${port}`,
    statusUrl: `http://127.0.0.1:${port + 1}`,
  };
  writeJsonFile(client.layout.networkFile, { ...client.network, nodes: [...others, entry] });
  return config;
}
