import { rmSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { toHex } from "@cloister/core";
import { usageError } from "../cli/usage.ts";
import type { Account } from "./accounts.ts";
import { requireFreePort } from "./anvil.ts";
import type { Client } from "./client.ts";
import type { CvmConfig } from "./cvm-process.ts";
import { writeJsonFile } from "./layout.ts";
import { deploymentOf } from "./local-network.ts";

/** Where a node listens, and where it says that it does. */
export interface Where {
  readonly port: number;
  readonly listen?: string;
  readonly advertise?: string;
  /** Where its operator says that the machine stands. */
  readonly region?: string;
}

/** @throws {CloisterError} `USAGE_LISTEN`, `USAGE_ADVERTISE` */
function requireAddresses({ listen, advertise }: Where): void {
  if (listen !== undefined && isIP(listen) === 0) {
    throw usageError(
      "USAGE_LISTEN",
      `"${listen}" is not an address of this machine.`,
      "Give an IP address, such as 0.0.0.0 for all of them; the port is --port.",
    );
  }
  if (advertise !== undefined && !/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$/.test(advertise)) {
    throw usageError(
      "USAGE_ADVERTISE",
      `"${advertise}" is not a host and a port.`,
      "Give what other machines dial, such as node.example.org:7700.",
    );
  }
}

/** Writes the configuration of a node that an account of this host runs, and makes its status page known. */
export async function joinConfig(client: Client, account: Account, where: Where): Promise<string> {
  const { port } = where;
  requireAddresses(where);
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
    ...(where.listen === undefined ? {} : { listenHost: where.listen }),
    ...(where.advertise === undefined ? {} : { advertise: where.advertise }),
    ...(where.region === undefined ? {} : { region: where.region }),
  };
  rmSync(client.layout.cvm(account.name).drained, { force: true });
  writeJsonFile(config, document, 0o600);
  const others = client.network.nodes.filter(({ name }) => name !== account.name);
  const entry = {
    name: account.name,
    endpoint: where.advertise ?? `127.0.0.1:${port}`,
    statusUrl: `http://127.0.0.1:${port + 1}`,
  };
  writeJsonFile(client.layout.networkFile, { ...client.network, nodes: [...others, entry] });
  return config;
}
