import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { connectJsonRpc, deploy, openChain } from "@cloister/adapters/chain";
import { systemEntropy } from "@cloister/adapters/platform";
import { measureImage, simulatedMeasurement } from "@cloister/adapters/tee";
import { CloisterError, codeOf, fromHex, toHex, type Address, type Digest } from "@cloister/core";
import { addressOfSecret, declareGoal, type Chain, type Deployment } from "@cloister/market";
import { encodeGoal } from "@cloister/node";
import type { Goal } from "@cloister/swarm";
import { anvilArgs, endLeftover, findAnvil, requireFreePort } from "./anvil.ts";
import { keepCopy, mendState, versionOf } from "./chain-state.ts";
import { Children, type ChildView } from "./children.ts";
import { claimProcessFile, noteProcess } from "./process-file.ts";
import { imageOf, type CvmConfig } from "./cvm-process.ts";
import {
  layoutOf,
  parseJsonFile,
  readNetwork,
  writeJsonFile,
  type Layout,
  type NetworkFile,
} from "./layout.ts";

const STARTED_WITHIN_MS = 60_000;
const FUNDS_WEI = 10n ** 20n;
const FUNDS_LEAST_WEI = 10n ** 19n;
const MENDED = {
  restored: "the chain's state was torn; its last whole copy is used",
  lost: "the chain's state was torn, and there is no whole copy: the chain begins anew",
} as const;
const KEEP_MS = 500;
const LEAVING_MS = 10_000;
const PROGRAM = fileURLToPath(new URL("../../bin/cloister.mjs", import.meta.url));

/** The goals that a local network declares: who computes, and who releases keys. */
export const LOCAL_GOALS: readonly Goal[] = [
  { id: "compute", kind: "compute", size: { min: 3, max: 3 }, latencyMsMax: 100, tees: ["tdx"], cpusMin: 1 },
  { id: "key-release", kind: "key-release", size: { min: 3, max: 3 }, latencyMsMax: 1_000, tees: ["tdx"] },
];

export interface LocalNetworkOptions {
  readonly home: string;
  readonly nodes: number;
  /** The first of the ports: chain, authority and its status, then two for each node. */
  readonly portBase: number;
  progress(step: string): void;
}

/** What is secret on this host: made once, kept with the network. */
interface HostSecrets {
  readonly deployer: string;
  readonly builder: string;
  readonly operators: Readonly<Record<string, string>>;
  /** Of the program that made the network: what its CVMs sealed opens for no other. */
  readonly measurements: readonly Digest[];
}

/**
 * A network on this machine, as separate processes: a chain, a certification authority, CVM nodes. All of its
 * state is on disk; starting it again goes on where it was, however it ended.
 */
export class LocalNetwork {
  readonly layout: Layout;
  readonly #options: LocalNetworkOptions;
  readonly #children = new Children((name, why) =>
    this.#options.progress(`${name} ended (${why}); starting it again`),
  );
  #file: NetworkFile | undefined;
  #chain: Chain | undefined;
  #keeper: NodeJS.Timeout | undefined;
  #kept = "";
  #claimed = false;
  #lateNode: (() => string) | undefined;
  #restore: (() => Promise<unknown>) | undefined;
  #furnished = false;
  #keeping = false;

  private constructor(options: LocalNetworkOptions) {
    this.#options = options;
    this.layout = layoutOf(options.home);
  }

  /**
   * Starts everything and returns once all processes run; what they still do then is theirs.
   * @throws {CloisterError} `PORT_IN_USE`, `ANVIL_MISSING`, `NETWORK_RUNNING`, `NETWORK_START_TIMEOUT`
   */
  static async start(options: LocalNetworkOptions): Promise<LocalNetwork> {
    const network = new LocalNetwork(options);
    try {
      await network.#start();
      return network;
    } catch (error) {
      await network.stop();
      throw error;
    }
  }

  get file(): NetworkFile {
    if (this.#file === undefined) throw new Error("the network has not started");
    return this.#file;
  }

  get chain(): Chain {
    if (this.#chain === undefined) throw new Error("the network has not started");
    return this.#chain;
  }

  children(): ChildView[] {
    return this.#children.views();
  }

  /**
   * Starts one more node, whose operator put a file of his own into the image. Its evidence shows it, and it is
   * let in nowhere. Returns where its status page is.
   */
  startIntruder(): string {
    const start = this.#lateNode;
    if (start === undefined) throw new Error("the network has not started");
    return start();
  }

  /** Ends one process for good: its machine is lost, and so is what was sealed to it. */
  async lose(name: string): Promise<void> {
    await this.#children.lose(name);
  }

  async stop(): Promise<void> {
    clearInterval(this.#keeper);
    await this.#children.stop();
    if (this.#claimed) rmSync(this.layout.supervisorPidFile, { force: true });
  }

  async #start(): Promise<void> {
    const { progress } = this.#options;
    this.#claim();
    const ports = this.#ports();
    progress("starting the chain");
    await endLeftover(this.layout.chainPidFile);
    // The processes of a supervisor that was killed leave by themselves, each when it comes to it.
    const leavingMs = existsSync(this.layout.networkFile) ? LEAVING_MS : 0;
    for (const port of Object.values(ports.all)) await requireFreePort(port, leavingMs);
    this.#startChain(ports.chain);
    const rpcUrl = `http://127.0.0.1:${ports.chain}`;
    const secrets = await this.#secrets();
    await untilReady("the chain", () => this.#fund(rpcUrl, secrets), isChainAway);
    progress(`starting the keeper of the log and ${this.#options.nodes} nodes`);
    const configs = this.#configs(ports, rpcUrl, secrets);
    const founders = await this.#startCvms(configs);
    progress("deploying the contracts");
    const furnish = (): Promise<Deployment> => this.#furnish(rpcUrl, secrets, founders);
    const deployment = await untilReady("the contracts", furnish, isChainAway);
    for (const config of configs) this.#configure({ ...config, deployment });
    this.#restore = furnish;
    this.#writeNetwork(ports, rpcUrl, deployment);
    this.#lateNode = () => this.#startAltered(ports, rpcUrl, secrets, deployment);
    this.#keeper = setInterval(() => void this.#keep(rpcUrl, secrets), KEEP_MS);
  }

  /** Brings onto the chain what a network needs of it. All of it is there already, unless the chain lost it. */
  async #furnish(rpcUrl: string, secrets: HostSecrets, authorities: readonly Address[]): Promise<Deployment> {
    await this.#fund(rpcUrl, secrets);
    const deployment = await this.#deploy(rpcUrl, secrets, authorities);
    this.#chain ??= await openChain({ rpcUrl, deployment });
    const { state } = await this.#chain.refresh();
    const known = new Set([...state.goals.values()].map(({ goalId }) => goalId));
    // A goal that was changed or retired since stays as it is.
    for (const goal of LOCAL_GOALS.filter(({ id }) => !known.has(id))) {
      await this.#chain.send(declareGoal(deployment, goal.id, encodeGoal(goal)), fromHex(secrets.deployer));
    }
    return deployment;
  }

  /** One supervisor per folder: two would write the same files. */
  #claim(): void {
    const { supervisorPidFile, home } = this.layout;
    mkdirSync(home, { recursive: true });
    const pid = claimProcessFile(supervisorPidFile);
    if (pid !== undefined) throw alreadyRunning(home, pid);
    this.#claimed = true;
  }

  #ports(): Ports {
    const base = this.#options.portBase;
    const nodes = this.#nodeNames().map((name, i) => [name, base + 3 + 2 * i] as const);
    const all = Object.fromEntries([
      ["chain", base],
      ["authority", base + 1],
      ["authority status", base + 2],
      ...nodes.flatMap(([name, port]) => [[name, port] as const, [`${name} status`, port + 1] as const]),
    ]) as Record<string, number>;
    return { all, chain: base, authority: base + 1, nodes: new Map(nodes) };
  }

  #nodeNames(): string[] {
    return Array.from({ length: this.#options.nodes }, (_, i) => `node-${i + 1}`);
  }

  #startChain(port: number): void {
    const { chainState, chainPidFile } = this.layout;
    mkdirSync(join(chainState, ".."), { recursive: true });
    this.#children.start({
      name: "chain",
      command: findAnvil(),
      args: anvilArgs(port, chainState),
      logFile: this.layout.log("chain"),
      prepare: () => {
        const mended = mendState(chainState);
        if (mended !== "whole") this.#options.progress(MENDED[mended]);
      },
      started: (pid) => {
        noteProcess(chainPidFile, pid);
        this.#furnished = false;
      },
    });
  }

  /** @throws {CloisterError} `NETWORK_OTHER_VERSION` */
  async #secrets(): Promise<HostSecrets> {
    const file = join(this.layout.home, "host-secrets.json");
    const measurements = await this.#measurements();
    const known = existsSync(file)
      ? parseJsonFile<HostSecrets>(readFileSync(file, "utf8"), file, "NETWORK_MALFORMED")
      : { deployer: randomSecret(), builder: randomSecret(), operators: {}, measurements };
    if (String(known.measurements) !== String(measurements)) {
      throw new CloisterError(
        "NETWORK_OTHER_VERSION",
        `The network in ${this.layout.home} was made by another version of this program.`,
        {
          hint: "Its CVMs' keys are sealed to that version. Run that one, or start a new network with another --home.",
        },
      );
    }
    const missing = ["authority", ...this.#nodeNames()].filter((name) => known.operators[name] === undefined);
    if (missing.length === 0 && existsSync(file)) return known;
    const made = Object.fromEntries(missing.map((name) => [name, randomSecret()]));
    const secrets = { ...known, operators: { ...known.operators, ...made } };
    writeJsonFile(file, secrets, 0o600);
    return secrets;
  }

  /** The local chain gives its own users what they need; on a real chain operators bring their own. */
  async #fund(rpcUrl: string, secrets: HostSecrets): Promise<void> {
    const rpc = connectJsonRpc(rpcUrl);
    for (const secret of [secrets.deployer, ...Object.values(secrets.operators)]) {
      const account = addressOfSecret(fromHex(secret));
      const has = BigInt(await rpc.request<string>("eth_getBalance", [account, "latest"]));
      if (has < FUNDS_LEAST_WEI)
        await rpc.request("anvil_setBalance", [account, `0x${FUNDS_WEI.toString(16)}`]);
    }
  }

  /** Of the CVM that keeps the log, then of all nodes. */
  #configs(ports: Ports, rpcUrl: string, secrets: HostSecrets): CvmConfig[] {
    return [
      this.#cvmConfig("authority", "authority", rpcUrl, secrets, ports, ports.authority),
      ...[...ports.nodes].map(([name, port]) => this.#cvmConfig(name, "node", rpcUrl, secrets, ports, port)),
    ];
  }

  /**
   * Starts all CVMs and waits until each has shown its key: the contracts name the nodes as those who make the
   * certification authority's key together, so they are deployed after that.
   */
  async #startCvms(configs: readonly CvmConfig[]): Promise<Address[]> {
    const deployment = existsSync(this.layout.networkFile)
      ? deploymentOf(readNetwork(this.layout))
      : undefined;
    for (const config of configs) {
      rmSync(config.identityFile, { force: true });
      this.#startCvm({ ...config, ...(deployment === undefined ? {} : { deployment }) });
    }
    const nodes = configs.filter(({ role }) => role === "node");
    return Promise.all(
      nodes.map(({ name, identityFile }) =>
        untilReady(name, () => {
          const { id } = JSON.parse(readFileSync(identityFile, "utf8")) as { id: Address };
          return Promise.resolve(id);
        }),
      ),
    );
  }

  #configure(config: CvmConfig): void {
    writeJsonFile(this.layout.cvm(config.name).config, config, 0o600);
  }

  #startAltered(ports: Ports, rpcUrl: string, secrets: HostSecrets, deployment: Deployment): string {
    const name = "intruder";
    const port = Math.max(...Object.values(ports.all)) + 1;
    const added = join(this.layout.home, "backdoor.txt");
    writeFileSync(added, "a file that no builder approved\n");
    const operators = { ...secrets.operators, [name]: randomSecret() };
    const config = this.#cvmConfig(name, "node", rpcUrl, { ...secrets, operators }, ports, port);
    this.#startCvm({ ...config, deployment, added: [added] });
    return `http://127.0.0.1:${port + 1}`;
  }

  #cvmConfig(
    name: string,
    role: CvmConfig["role"],
    rpcUrl: string,
    secrets: HostSecrets,
    ports: Ports,
    port: number,
  ): CvmConfig {
    const { platform, records, config } = this.layout.cvm(name);
    const operatorSecret = secrets.operators[name] as string;
    return {
      ...{ name, role, rpcUrl, port, platform, records, operatorSecret },
      statusPort: port + 1,
      authorityEndpoint: `127.0.0.1:${ports.authority}`,
      objects: this.layout.objects,
      votersMin: this.#options.nodes,
      founders: [...ports.nodes.values()].map((node) => `127.0.0.1:${node}`),
      identityFile: join(config, "..", "identity.json"),
      operator: addressOfSecret(fromHex(operatorSecret)),
    };
  }

  #startCvm(config: CvmConfig): void {
    const { config: file, drained } = this.layout.cvm(config.name);
    writeJsonFile(file, config, 0o600);
    rmSync(drained, { force: true });
    this.#children.start({
      name: config.name,
      command: process.execPath,
      args: [PROGRAM, "node", "run", file],
      logFile: this.layout.log(config.name),
      leavesWithPipe: true,
      held: () => existsSync(drained),
    });
  }

  /** Sent again after a crash it finds what is there: same deployer, same nonce, same addresses. */
  async #deploy(rpcUrl: string, secrets: HostSecrets, authorities: readonly Address[]): Promise<Deployment> {
    const builder = addressOfSecret(fromHex(secrets.builder));
    const config = {
      builders: [builder],
      threshold: 1,
      revokeThreshold: 1,
      delaySeconds: 0,
      exitDelaySeconds: 60,
      nodeStakeWei: 0n,
      forfeitWei: 0n,
      authorities,
      measurements: secrets.measurements,
    };
    return deploy({ rpcUrl, config, secret: fromHex(secrets.deployer), nonce: 0, fromBlock: 0 });
  }

  async #measurements(): Promise<Digest[]> {
    const images = [imageOf("authority"), imageOf("node")];
    return Promise.all(images.map(async (image) => simulatedMeasurement(await measureImage(image))));
  }

  #writeNetwork(ports: Ports, rpcUrl: string, deployment: Deployment): void {
    const statusUrl = (port: number): string => `http://127.0.0.1:${port + 1}`;
    this.#file = {
      version: 1,
      simulated: true,
      rpcUrl,
      ...deployment,
      authority: { endpoint: `127.0.0.1:${ports.authority}`, statusUrl: statusUrl(ports.authority) },
      nodes: [...ports.nodes].map(([name, port]) => ({
        name,
        endpoint: `127.0.0.1:${port}`,
        statusUrl: statusUrl(port),
      })),
    };
    writeJsonFile(this.layout.networkFile, this.#file);
  }

  /** Keeps a whole copy of the chain's state, users in funds, and the contracts on a chain that was killed. */
  async #keep(rpcUrl: string, secrets: HostSecrets): Promise<void> {
    if (this.#keeping) return;
    this.#keeping = true;
    const { chainState } = this.layout;
    try {
      const version = versionOf(chainState);
      if (version !== this.#kept) {
        this.#kept = version;
        keepCopy(chainState);
      }
      if (!this.#furnished) await this.#restore?.();
      this.#furnished = true;
      await this.#fund(rpcUrl, secrets);
    } catch (error) {
      if (!isChainAway(error)) {
        this.#options.progress(`the chain cannot be kept in order: ${(error as Error).message}`);
      }
    } finally {
      this.#keeping = false;
    }
  }
}

/** One supervisor per folder. */
export function alreadyRunning(home: string, pid: number): CloisterError {
  return new CloisterError("NETWORK_RUNNING", `A network already runs in ${home} (process ${pid}).`, {
    hint: "Stop it with `cloister down`, or start another one with --home and --port-base.",
  });
}

interface Ports {
  readonly all: Readonly<Record<string, number>>;
  readonly chain: number;
  readonly authority: number;
  readonly nodes: ReadonlyMap<string, number>;
}

/** Where the contracts of a network are. */
export function deploymentOf(file: NetworkFile): Deployment {
  const { chainId, registry, market, log, fromBlock } = file;
  return { chainId, registry, market, log, fromBlock };
}

/** Tries again for as long as what fails may pass by itself: a process that starts, or is started again. */
async function untilReady<T>(
  what: string,
  attempt: () => Promise<T>,
  passes: (error: unknown) => boolean = () => true,
): Promise<T> {
  const endMs = Date.now() + STARTED_WITHIN_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (cause) {
      if (!passes(cause)) throw cause;
      if (Date.now() > endMs) {
        throw new CloisterError("NETWORK_START_TIMEOUT", `Starting ${what} took more than a minute.`, {
          hint: "Look into the logs folder of the network's home.",
          cause,
        });
      }
      await wait(50);
    }
  }
}

function isChainAway(error: unknown): boolean {
  return codeOf(error) === "CHAIN_UNREACHABLE" || codeOf(error) === "CHAIN_TIMEOUT";
}

function randomSecret(): string {
  return toHex(systemEntropy(32));
}
