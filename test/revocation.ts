/**
 * `npm run test:revocation`: a fourth node joins a real network and is revoked. Measures in heartbeats how long its
 * peers go on with it, and how long until the authority's signed list names it; OpenSSL reads certificate and list.
 * By hand, about half a minute.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { toPem } from "@cloister/attestation";
import { CloisterError, valueOf, type NodeId } from "@cloister/core";
import {
  decodeLogEntry,
  tilePath,
  verifyAuthorityCertificate,
  verifyNodeCertificate,
} from "@cloister/certification";
import { HEARTBEAT_MS } from "@cloister/node";
import { readFlags } from "@cloister/tools/flags";
import { atMost, exactly, printReport } from "@cloister/tools/report";
import { createAccount, fundLocally } from "../apps/cli/src/network/accounts.ts";
import { Client } from "../apps/cli/src/network/client.ts";
import { LocalNetwork } from "../apps/cli/src/network/local-network.ts";
import { revokeByName } from "../apps/cli/src/network/revoke.ts";
import { freePortBase, untilReady } from "../apps/cli/src/network/start.ts";

const PROGRAM = fileURLToPath(new URL("../apps/cli/bin/cloister.mjs", import.meta.url));
const WITHIN_MS = 60_000;

const { json } = readFlags("npm run test:revocation -- [--json]", {
  json: { type: "boolean", default: false },
});
const say = (text: string): void => void process.stderr.write(`${text}\n`);

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (const endMs = Date.now() + WITHIN_MS; Date.now() < endMs;) {
    const found = await look().catch(() => undefined);
    if (found !== undefined) return found;
    await wait(50);
  }
  throw new CloisterError("NETWORK_NOT_READY", `It did not come to this in time: ${what}.`);
}

async function fetched(url: string): Promise<Uint8Array> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** All entries of a log of less than 256, off its one tile. */
async function entriesOf(statusUrl: string): Promise<Uint8Array[]> {
  const size = Number(new TextDecoder().decode(await fetched(`${statusUrl}/checkpoint`)).split("\n")[1]);
  const bytes = await fetched(`${statusUrl}/${tilePath("entries", 0, size)}`);
  const entries: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + 2 + new DataView(bytes.buffer, bytes.byteOffset).getUint16(at);
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return entries;
}

/** The node's certificate, as the log has it. */
async function certificateOf(
  statusUrl: string,
  authority: Uint8Array,
  node: NodeId,
): Promise<Uint8Array | undefined> {
  const nowMs = Date.now();
  const { key: authorityKey } = valueOf(verifyAuthorityCertificate(authority, { nowMs }));
  const certificates = (await entriesOf(statusUrl)).map(decodeLogEntry);
  return certificates
    .filter(({ kind }) => kind === "certificate")
    .map(({ statement }) => statement)
    .findLast((der) => {
      const verdict = verifyNodeCertificate(der, { authorityKey, nowMs });
      return verdict.ok && verdict.value.keys.settlement === node;
    });
}

interface Page {
  readonly id?: string;
  readonly peers?: readonly { readonly id: string }[];
}

async function peersOf(statusUrl: string): Promise<string[]> {
  const page = (await (await fetch(`${statusUrl}/status`)).json()) as Page;
  return (page.peers ?? []).map(({ id }) => id);
}

/** What OpenSSL says of the chain, and of the chain with the list. */
function openssl(
  home: string,
  pieces: Readonly<Record<"authority" | "node" | "crl", Uint8Array>>,
): { chain: string; withList: string } {
  const file = (name: keyof typeof pieces): string => {
    const path = join(home, `${name}.pem`);
    writeFileSync(
      path,
      toPem(pieces[name]).replaceAll("CERTIFICATE", name === "crl" ? "X509 CRL" : "CERTIFICATE"),
    );
    return path;
  };
  const chain = ["verify", "-CAfile", file("authority")];
  const run = (...args: readonly string[]): string => {
    const { stdout, stderr } = spawnSync("openssl", args, { encoding: "utf8" });
    return `${stdout}${stderr}`.trim();
  };
  const node = file("node");
  return {
    chain:
      run(...chain, node)
        .split(": ")
        .at(-1) ?? "",
    withList:
      /certificate revoked/.exec(run(...chain, "-crl_check", "-CRLfile", file("crl"), node))?.[0] ?? "",
  };
}

const home = mkdtempSync(join(tmpdir(), "cloister-revocation-"));
const portBase = await freePortBase();
const network = await LocalNetwork.start({ home, nodes: 3, portBase, progress: say });
let guest: ChildProcess | undefined;
try {
  await untilReady(home);
  const client = await Client.open(home);
  const account = await createAccount(client.layout, "guest");
  await fundLocally(client.network, account.address);
  const before = new Set((await client.chain.refresh()).state.nodes.keys());
  const args = [PROGRAM, "--home", home, "node", "join", "--as", "guest", "--port", String(portBase + 12)];
  guest = spawn(process.execPath, args, { stdio: "ignore" });
  const node = await until("a fourth node is registered", async () => {
    const { state } = await client.chain.refresh();
    return [...state.nodes.keys()].find((id) => !before.has(id));
  });
  const { authority, nodes } = client.network;
  const founders = nodes.filter(({ name }) => name.startsWith("node-"));
  const peers = () => Promise.all(founders.map(({ statusUrl }) => peersOf(statusUrl)));
  await until(
    "all have channels to it",
    async () => (await peers()).every((ids) => ids.includes(node)) || undefined,
  );
  say(`the node ${node} joined and is connected`);
  const empty = await fetched(`${authority.statusUrl}/crl`);
  await revokeByName(client, node);
  const revokedMs = Date.now();
  const beats = (): number => (Date.now() - revokedMs) / HEARTBEAT_MS;
  const closing = until("nobody has a channel to it", async () => {
    return (await peers()).every((ids) => !ids.includes(node)) ? beats() : undefined;
  });
  const listing = until("the signed list names it", async () => {
    const crl = await fetched(`${authority.statusUrl}/crl`);
    return crl.length > empty.length ? { crl, beats: beats() } : undefined;
  });
  const [closed, listed] = await Promise.all([closing, listing]);
  await wait(2 * HEARTBEAT_MS);
  const still = (await peers()).filter((ids) => ids.includes(node)).length;
  const pieces = { authority: await fetched(`${authority.statusUrl}/authority`), crl: listed.crl };
  const certificate = await certificateOf(authority.statusUrl, pieces.authority, node);
  const said = openssl(home, { ...pieces, node: certificate ?? new Uint8Array(0) });
  const { state } = await client.chain.refresh();
  printReport(
    {
      name: "revocation",
      figures: { heartbeatMs: HEARTBEAT_MS, closedAfterBeats: closed, listedAfterBeats: listed.beats },
      goals: [
        atMost("heartbeats until all its channels are closed", closed, 1),
        atMost("heartbeats until the signed list names it", listed.beats, 1),
        exactly("peers that have a channel to it two heartbeats later", still, 0),
        exactly("the contracts' word of it", state.nodes.get(node)?.status ?? "", "barred"),
        exactly("OpenSSL of its certificate", said.chain, "OK"),
        exactly("OpenSSL of its certificate with the list", said.withList, "certificate revoked"),
      ],
    },
    json,
  );
} finally {
  guest?.kill("SIGKILL");
  await network.stop();
  if (process.exitCode === undefined) rmSync(home, { recursive: true, force: true });
  else say(`what is left of the network lies in ${home}`);
}
process.exit();
