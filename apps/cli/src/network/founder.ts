import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CloisterError } from "@cloister/core";
import type { Client } from "./client.ts";
import { parseJsonFile } from "./layout.ts";

/** What only the host that made a network has: its declarer's and its builder's keys, as hex. */
interface FounderSecrets {
  readonly deployer: string;
  readonly builder: string;
}

/** @throws {CloisterError} the given code, where another host made the network */
export function founderSecrets(
  { layout }: Client,
  code: "GROUP_NOT_FOUNDER" | "NODE_NOT_FOUNDER",
): FounderSecrets {
  const file = join(layout.home, "host-secrets.json");
  if (existsSync(file)) {
    return parseJsonFile<FounderSecrets>(readFileSync(file, "utf8"), file, "NETWORK_MALFORMED");
  }
  throw new CloisterError(code, "The account that founded this network is not on this host.", {
    hint: "Do it where `cloister up` made the network.",
  });
}
