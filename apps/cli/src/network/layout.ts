import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { CloisterError } from "@cloister/core";
import type { Deployment } from "@cloister/market";

/** Where everything of one local network lies on disk. */
export interface Layout {
  readonly home: string;
  readonly networkFile: string;
  readonly chainState: string;
  readonly chainPidFile: string;
  readonly supervisorPidFile: string;
  readonly objects: string;
  readonly accounts: string;
  log(name: string): string;
  /** Everything one CVM of this host keeps: its platform's secret, its sealed records, its configuration. */
  cvm(name: string): CvmLayout;
}

export interface CvmLayout {
  readonly config: string;
  /** While this file is there, the supervisor does not start the node again: it was drained. */
  readonly drained: string;
  readonly platform: string;
  readonly records: string;
}

export function layoutOf(home: string): Layout {
  const root = resolve(home);
  return {
    home: root,
    networkFile: join(root, "network.json"),
    chainState: join(root, "chain", "state.json"),
    chainPidFile: join(root, "chain", "anvil.pid"),
    supervisorPidFile: join(root, "up.pid"),
    objects: join(root, "objects"),
    accounts: join(root, "accounts"),
    log: (name) => join(root, "logs", `${name}.log`),
    cvm: (name) => ({
      config: join(root, "cvms", name, "config.json"),
      drained: join(root, "cvms", name, "drained"),
      platform: join(root, "cvms", name, "platform"),
      records: join(root, "cvms", name, "records"),
    }),
  };
}

/** Public facts of a network: what a client needs to reach it. Nothing in it is secret or trusted. */
export interface NetworkFile extends Deployment {
  readonly version: 1;
  /** True for every network whose TEEs are simulated. */
  readonly simulated: boolean;
  readonly rpcUrl: string;
  readonly authority: { readonly endpoint: string; readonly statusUrl: string };
  readonly nodes: readonly { readonly name: string; readonly endpoint: string; readonly statusUrl: string }[];
}

/** @throws {CloisterError} `NETWORK_MISSING`, `NETWORK_MALFORMED` */
export function readNetwork(layout: Layout): NetworkFile {
  let text: string;
  try {
    text = readFileSync(layout.networkFile, "utf8");
  } catch (cause) {
    throw new CloisterError("NETWORK_MISSING", `There is no network in ${layout.home}.`, {
      hint: "Start one with `cloister up`, or name another folder with --home.",
      cause,
    });
  }
  const document = parseJsonFile<unknown>(text, layout.networkFile, "NETWORK_MALFORMED");
  if (isNetworkFile(document)) return document;
  throw new CloisterError("NETWORK_MALFORMED", `${layout.networkFile} does not describe a network.`, {
    hint: RESTORE,
  });
}

/** What is missing or of another kind would go wrong somewhere far from here. */
function isNetworkFile(document: unknown): document is NetworkFile {
  const { rpcUrl, chainId, registry, market, log, fromBlock, authority, nodes } = recordOf(document);
  return (
    isUrl(rpcUrl) &&
    [registry, market, log].every((address) => typeof address === "string" && ADDRESS.test(address)) &&
    [chainId, fromBlock].every((count) => Number.isSafeInteger(count) && (count as number) >= 0) &&
    isPlace(authority) &&
    Array.isArray(nodes) &&
    nodes.every((node) => isPlace(node) && typeof recordOf(node)["name"] === "string")
  );
}

const ADDRESS = /^0x[0-9a-f]{40}$/i;

function isPlace(value: unknown): boolean {
  const { endpoint, statusUrl } = recordOf(value);
  return typeof endpoint === "string" && isUrl(statusUrl);
}

function isUrl(value: unknown): boolean {
  return typeof value === "string" && /^https?:/.test(value) && URL.canParse(value);
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

const RESTORE = "Restore it from a copy, or start afresh in an empty folder with --home.";

/** Writes a JSON file so that a reader, or a crash, sees the old one or the new one and never a half. */
export function writeJsonFile(path: string, value: unknown, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true });
  const next = `${path}.${process.pid}.next`;
  try {
    writeFileSync(next, `${JSON.stringify(value, null, 2)}\n`, { mode, flush: true });
    renameSync(next, path);
  } catch (error) {
    rmSync(next, { force: true });
    throw error;
  }
}

/** @throws {CloisterError} with the given code when the file is not JSON. */
export function parseJsonFile<T>(text: string, path: string, code: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new CloisterError(code, `${path} is not valid JSON.`, {
      hint: RESTORE,
      cause,
    });
  }
}
