import { cpSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { connectJsonRpc, deploy, openChain } from "@cloister/adapters/chain";
import { systemEntropy } from "@cloister/adapters/platform";
import { measureImage, simulatedMeasurement } from "@cloister/adapters/tee";
import { toHex, type Address, type Digest, type NodeId } from "@cloister/core";
import {
  addressOfSecret,
  decide,
  declareGoal,
  measurementSubject,
  signStatement,
  type Chain,
  type Decision,
  type Deployment,
} from "@cloister/market";
import { encodeGoal } from "@cloister/node";
import type { Goal, SwarmView } from "@cloister/swarm";
import { anvilArgs, findAnvil } from "../../apps/cli/src/network/anvil.ts";
import { imageOf, type CvmConfig } from "../../apps/cli/src/network/cvm-process.ts";
import { layoutOf, writeJsonFile, type Layout } from "../../apps/cli/src/network/layout.ts";
import { EventLog } from "./events.ts";
import type { HostPlan } from "./host.ts";
import type { LinkPlan, LinkTreatment } from "./link.ts";
import { freePorts } from "./ports.ts";
import { SteeredProcess } from "./process.ts";
import { Relay } from "./relay-control.ts";

const HOST_PROGRAM = fileURLToPath(new URL("host.ts", import.meta.url));
/** A machine that does much else at the same time starts five nodes slowly. */
const STARTED_WITHIN_MS = 150_000;
/** So many nodes hold the certification authority's key. */
const FOUNDERS = 3;
const LOOPBACK = "127.0.0.1";
/** Machines are made with the first firmware. */
const FIRMWARE_LATER = 2;
const FUNDS_WEI = `0x${(10n ** 20n).toString(16)}`;

export interface FleetOptions {
  /** An empty folder; the caller removes it. */
  readonly home: string;
  readonly nodes: number;
  /** Between every two nodes. */
  readonly rttMs: number;
  readonly goals: readonly Goal[];
  /** Nodes, by number, whose image holds one more file: approved too, under a measurement of its own. */
  readonly otherImage?: readonly number[];
  /** Nodes, by number, whose machines have the firmware they were made with; all others have later one. */
  readonly oldFirmware?: readonly number[];
  /** How far each node's clock is from the true one, by number. */
  readonly clockOffsetsMs?: Readonly<Record<number, number>>;
  /** Nodes, by number, that send all others as much as they can from some time after their start. */
  readonly flooding?: readonly number[];
  /** Where the nodes stand; absent: all on loopback. */
  readonly ground?: Ground;
}

/** Where the nodes of a fleet stand: which address each has, and how a program is started there. */
export interface Ground {
  addressOf(index: number): string;
  /** What a command line begins with for it to run where a node stands. */
  prefix(index: number): readonly string[];
  /** Where the chain and the authority are, as nodes see them. */
  readonly center: string;
}

const ON_LOOPBACK: Ground = { addressOf: () => LOOPBACK, prefix: () => [], center: LOOPBACK };

export interface FleetNode {
  readonly index: number;
  readonly name: string;
  readonly process: SteeredProcess;
  readonly statusUrl: string;
  /** Known once it has booted. */
  id: NodeId | undefined;
}

/** What a node's status page shows, as far as a fleet looks at it. */
interface StatusPage {
  readonly id: NodeId;
  readonly swarm?: SwarmView;
}

/**
 * A network of real processes whose every link can be delayed and cut and whose every process can be struck:
 * a chain, a certification authority, and nodes that run what `cloister node run` runs. Unlike `cloister up`
 * it starts nothing again by itself.
 */
export class Fleet {
  readonly events = new EventLog();
  readonly layout: Layout;
  readonly nodes: readonly FleetNode[];
  readonly #relays: readonly Relay[];
  readonly #ground: Ground;
  readonly #options: FleetOptions;
  readonly #ports: FleetPorts;
  readonly #builder = systemEntropy(32);
  readonly #deployer = systemEntropy(32);
  readonly #others: SteeredProcess[] = [];
  #chain: Chain | undefined;
  #goals = 0;

  private constructor(options: FleetOptions, ports: FleetPorts) {
    this.#options = options;
    this.#ports = ports;
    this.#ground = options.ground ?? ON_LOOPBACK;
    // On loopback one relay sees every link; elsewhere each node has its own, where it stands.
    const shared = options.ground === undefined ? new Relay() : undefined;
    this.#relays = Array.from({ length: options.nodes }, (_, index) => {
      return shared ?? new Relay(this.#ground.prefix(index));
    });
    this.layout = layoutOf(options.home);
    this.nodes = Array.from({ length: options.nodes }, (_, index) => this.#nodeOf(index));
  }

  /** Starts everything; the nodes find each other and elect after this returns. */
  static async start(options: FleetOptions): Promise<Fleet> {
    const fleet = new Fleet(options, await portsFor(options.nodes));
    try {
      await fleet.#start();
      return fleet;
    } catch (error) {
      await fleet.stop();
      throw error;
    }
  }

  get chain(): Chain {
    if (this.#chain === undefined) throw new Error("the fleet has not started");
    return this.#chain;
  }

  get rpcUrl(): string {
    return `http://${this.#ground.center}:${this.#ports.chain}`;
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(({ process }) => process.stop("SIGKILL")));
    await Promise.all(this.#others.map((process) => process.stop()));
    for (const relay of new Set(this.#relays)) relay.stop();
  }

  nodeOf(id: NodeId | undefined): FleetNode | undefined {
    return this.nodes.find((node) => node.id === id);
  }

  /** Delays all links alike. */
  async delay(rttMs: number): Promise<void> {
    await this.treat([...this.#ports.links.keys()], { delayMs: rttMs / 2, cut: false });
  }

  /** Treats some links alike, each at the relay of the node that dials over it. */
  async treat(names: readonly string[], treatment: LinkTreatment): Promise<void> {
    const byRelay = Map.groupBy(names, (name) => this.#relays[Number(name.split(">")[0])] as Relay);
    await Promise.all([...byRelay].map(([relay, links]) => relay.treat(links, treatment)));
  }

  /** Declares one more goal. */
  async declare(goal: Goal): Promise<void> {
    const call = declareGoal(this.chain.deployment, goal.id, encodeGoal(goal));
    await this.chain.send(call, this.#deployer);
    this.#goals++;
  }

  /** The links between the nodes of one set and those of another, in both directions. */
  linksBetween(some: readonly number[], others: readonly number[]): string[] {
    return some.flatMap((a) => others.flatMap((b) => (a === b ? [] : [linkName(a, b), linkName(b, a)])));
  }

  /** What a node says of the swarm; undefined while it does not answer. */
  async view(node: FleetNode): Promise<SwarmView | undefined> {
    try {
      const response = await fetch(`${node.statusUrl}/status`, { signal: AbortSignal.timeout(1_000) });
      const page = (await response.json()) as StatusPage;
      node.id = page.id;
      return page.swarm;
    } catch {
      return undefined;
    }
  }

  /**
   * Waits until these nodes agree on a leader among them that leads, are all connected, and none is doubted,
   * and returns the leader.
   */
  async settled(nodes: readonly FleetNode[] = this.nodes, withinMs = STARTED_WITHIN_MS): Promise<FleetNode> {
    const endMs = Date.now() + withinMs;
    for (;;) {
      const views = await Promise.all(nodes.map((node) => this.view(node)));
      const leader = leaderOf(views, nodes.length);
      const groups = this.chain.view()?.state.groups.size ?? 0;
      const found = this.nodeOf(leader);
      if (found !== undefined && groups >= this.#goals) return found;
      if (Date.now() > endMs)
        throw new Error(`the fleet did not settle: ${JSON.stringify(views.map(shortly))}`);
      await wait(100);
      await this.chain.refresh();
    }
  }

  /** Takes the approval of the other image away, as builders do when its TCB is no longer to be trusted. */
  async revokeOtherImage(): Promise<void> {
    const decision: Decision = {
      kind: "revokeMeasurement",
      subject: measurementSubject(await this.#measurementOf("node", this.#addedFiles())),
      value: 0n,
      round: (await this.chain.refresh()).state.round,
    };
    const signature = signStatement(this.chain.deployment, "Decision", decision, this.#builder);
    await this.chain.send(decide(this.chain.deployment, decision, [signature]), this.#deployer);
  }

  /** Has the vendor call the firmware out of date with which machines are made. */
  rateOldFirmwareDown(): void {
    // A file that is half written would be read as another rating.
    writeFileSync(`${this.#vendorFile}.new`, String(FIRMWARE_LATER));
    renameSync(`${this.#vendorFile}.new`, this.#vendorFile);
  }

  /** Gives a node's machine the later firmware, which takes effect when it starts again. */
  async updateFirmware(node: FleetNode): Promise<void> {
    await node.process.stop("SIGKILL");
    writeJsonFile(this.#hostFile(node.name), { ...this.#planOf(node.index), firmware: FIRMWARE_LATER });
    node.process.start();
  }

  /** A process with the keys and a copy of the records of a node, standing where another one stands. */
  twinOf(node: FleetNode, place: number): SteeredProcess {
    const name = `twin-of-${node.name}`;
    const own = this.layout.cvm(node.name);
    const { config: file, platform, records } = this.layout.cvm(name);
    cpSync(own.platform, platform, { recursive: true });
    cpSync(own.records, records, { recursive: true });
    const known = JSON.parse(readFileSync(own.config, "utf8")) as CvmConfig;
    const address = this.#ground.addressOf(place);
    const [port, statusPort] = [this.#ports.twin, this.#ports.twinStatus];
    const moved = { name, platform, records, port, statusPort, listenHost: address };
    writeJsonFile(file, {
      ...known,
      ...moved,
      advertise: `${address}:${port}`,
      identityFile: `${file}.identity`,
    });
    const twin = this.#processOf(name, this.#plainPlan(file), this.#ground.prefix(place));
    this.#others.unshift(twin);
    return twin;
  }

  async #start(): Promise<void> {
    mkdirSync(dirname(this.layout.log("x")), { recursive: true });
    this.#startChain();
    await untilDone("the chain", () => connectJsonRpc(this.rpcUrl).request("eth_chainId", []));
    await this.#openLinks();
    await this.delay(this.#options.rttMs);
    const secrets = this.nodes.map(() => systemEntropy(32));
    const authoritySecret = systemEntropy(32);
    for (const secret of [...secrets, authoritySecret, this.#deployer]) await this.#fund(secret);
    const configs = [
      this.#configOf("authority", "authority", authoritySecret, this.#ports.authority),
      ...this.nodes.map((node) => this.#nodeConfig(node, secrets[node.index] as Uint8Array)),
    ];
    const deployment = await this.#startCvms(configs);
    this.#chain = await openChain({ rpcUrl: this.rpcUrl, deployment });
    for (const goal of this.#options.goals) await this.declare(goal);
    this.#writeNetwork(deployment);
  }

  #startChain(): void {
    const chain = new SteeredProcess({
      name: "chain",
      command: findAnvil(),
      // Nothing starts it again here, and what it would write every second it would not answer meanwhile.
      args: anvilArgs(this.#ports.chain, undefined, this.#ground.center),
      logFile: this.layout.log("chain"),
      line: () => undefined,
    });
    this.#others.push(chain);
    chain.start();
  }

  async #fund(secret: Uint8Array): Promise<void> {
    await connectJsonRpc(this.rpcUrl).request("anvil_setBalance", [addressOfSecret(secret), FUNDS_WEI]);
  }

  /** The founders must show their keys before the contracts that trust them can be deployed. */
  async #startCvms(configs: readonly CvmConfig[]): Promise<Deployment> {
    for (const config of configs) writeJsonFile(this.layout.cvm(config.name).config, config, 0o600);
    const configFile = this.layout.cvm("authority").config;
    const authority = this.#processOf("authority", this.#plainPlan(configFile), []);
    this.#others.unshift(authority);
    authority.start();
    for (const { process } of this.nodes) process.start();
    const ids = configs.filter(({ name }) => this.#founders().some((node) => node.name === name));
    const deployment = await deploy({
      rpcUrl: this.rpcUrl,
      config: {
        builders: [addressOfSecret(this.#builder)],
        ...{ threshold: 1, revokeThreshold: 1, delaySeconds: 0, exitDelaySeconds: 60 },
        ...{ nodeStakeWei: 0n, forfeitWei: 0n },
        authorities: await Promise.all(ids.map((config) => idOf(config))),
        measurements: await this.#measurements(),
      },
      secret: this.#deployer,
    });
    for (const config of configs) {
      writeJsonFile(this.layout.cvm(config.name).config, { ...config, deployment }, 0o600);
    }
    return deployment;
  }

  /** The first nodes of the usual image make the certification authority's key. */
  #founders(): FleetNode[] {
    const { otherImage = [] } = this.#options;
    return this.nodes.filter(({ index }) => !otherImage.includes(index)).slice(0, FOUNDERS);
  }

  async #measurements(): Promise<Digest[]> {
    const usual = await Promise.all([this.#measurementOf("authority"), this.#measurementOf("node")]);
    if (this.#options.otherImage === undefined) return usual;
    return [...usual, await this.#measurementOf("node", this.#addedFiles())];
  }

  async #measurementOf(role: CvmConfig["role"], added: readonly string[] = []): Promise<Digest> {
    return simulatedMeasurement(await measureImage(imageOf(role, added)));
  }

  #addedFiles(): string[] {
    const file = join(this.layout.home, "added.txt");
    writeFileSync(file, "a file that another operator's image holds\n");
    return [file];
  }

  #endpointOf(index: number): string {
    return `${this.#ground.addressOf(index)}:${this.#ports.nodes[index]}`;
  }

  #nodeConfig({ name, index }: FleetNode, secret: Uint8Array): CvmConfig {
    const port = this.#ports.nodes[index] as number;
    const others = this.#options.otherImage?.includes(index) === true ? this.#addedFiles() : [];
    const reached = { listenHost: this.#ground.addressOf(index), advertise: this.#endpointOf(index) };
    return { ...this.#configOf(name, "node", secret, port), ...reached, added: others };
  }

  #nodeOf(index: number): FleetNode {
    const name = nameOf(index);
    const statusUrl = `http://${this.#ground.addressOf(index)}:${this.#ports.statusLinks[index]}`;
    const process = this.#processOf(name, this.#planOf(index), this.#ground.prefix(index));
    return { index, name, process, statusUrl, id: undefined };
  }

  #planOf(index: number): HostPlan {
    return {
      ...this.#plainPlan(this.layout.cvm(nameOf(index)).config),
      clockOffsetMs: this.#options.clockOffsetsMs?.[index] ?? 0,
      routes: this.#routesOf(index),
      floods: this.#options.flooding?.includes(index) === true,
      firmware: this.#options.oldFirmware?.includes(index) === true ? 1 : FIRMWARE_LATER,
    };
  }

  #plainPlan(configFile: string): HostPlan {
    const plain = { clockOffsetMs: 0, routes: {}, floods: false, firmware: FIRMWARE_LATER };
    return { configFile, ...plain, vendorFile: this.#vendorFile };
  }

  /** What the simulated vendor says of firmware, for every process here to read. */
  get #vendorFile(): string {
    return join(this.layout.home, "vendor-firmware");
  }

  #hostFile(name: string): string {
    return join(dirname(this.layout.cvm(name).config), "host.json");
  }

  #processOf(name: string, plan: HostPlan, prefix: readonly string[]): SteeredProcess {
    const file = this.#hostFile(name);
    writeJsonFile(file, plan);
    mkdirSync(dirname(this.layout.log(name)), { recursive: true });
    const [command, ...args] = [...prefix, process.execPath, HOST_PROGRAM, file];
    return new SteeredProcess({
      ...{ name, command, args },
      logFile: this.layout.log(name),
      line: (line) => this.events.take(name, line),
    });
  }

  #configOf(name: string, role: CvmConfig["role"], secret: Uint8Array, port: number): CvmConfig {
    const { platform, records, config } = this.layout.cvm(name);
    const index = this.#ports.nodes.indexOf(port);
    return {
      ...{ name, role, rpcUrl: this.rpcUrl, port, platform, records },
      statusPort: role === "authority" ? this.#ports.authorityStatus : (this.#ports.status[index] as number),
      listenHost: this.#ground.center,
      authorityEndpoint: `${this.#ground.center}:${this.#ports.authority}`,
      objects: this.layout.objects,
      votersMin: this.#options.nodes,
      founders: this.#founders().map((founder) => this.#endpointOf(founder.index)),
      identityFile: join(dirname(config), "identity.json"),
      operator: addressOfSecret(secret),
      operatorSecret: toHex(secret),
    };
  }

  #writeNetwork(deployment: Deployment): void {
    writeJsonFile(this.layout.networkFile, {
      ...{ version: 1, simulated: true, rpcUrl: this.rpcUrl, ...deployment },
      authority: {
        endpoint: `${this.#ground.center}:${this.#ports.authority}`,
        statusUrl: `http://${LOOPBACK}:${this.#ports.authorityStatus}`,
      },
      nodes: this.nodes.map(({ name, index, statusUrl }) => ({
        ...{ name, statusUrl },
        endpoint: `${this.#ground.addressOf(index)}:${this.#ports.nodes[index]}`,
      })),
    });
  }

  /** A node dials its peers over a relay on its own loopback, and shows its status page over it. */
  async #openLinks(): Promise<void> {
    const plans = [...this.#ports.links].map(([name, port]): [number, LinkPlan] => {
      const [from, to] = name.split(">").map(Number) as [number, number];
      const target = { host: this.#ground.addressOf(to), port: this.#ports.nodes[to] as number };
      return [from, { name, listen: { host: LOOPBACK, port }, target }];
    });
    for (const [index, port] of this.#ports.statusLinks.entries()) {
      const listen = { host: this.#ground.addressOf(index), port };
      const target = { host: LOOPBACK, port: this.#ports.status[index] as number };
      plans.push([index, { name: `status-${index}`, listen, target }]);
    }
    await Promise.all(plans.map(([from, plan]) => (this.#relays[from] as Relay).open([plan])));
  }

  #routesOf(from: number): Record<string, string> {
    const routes = this.#ports.nodes.flatMap((port, to) => {
      const relayed = this.#ports.links.get(linkName(from, to));
      const endpoint = `${this.#ground.addressOf(to)}:${port}`;
      return relayed === undefined ? [] : [[endpoint, `${LOOPBACK}:${relayed}`] as const];
    });
    return Object.fromEntries(routes);
  }
}

function idOf({ name, identityFile }: CvmConfig): Promise<Address> {
  return untilDone(name, async () => (JSON.parse(readFileSync(identityFile, "utf8")) as { id: Address }).id);
}

interface FleetPorts {
  readonly chain: number;
  readonly authority: number;
  readonly authorityStatus: number;
  readonly twin: number;
  readonly twinStatus: number;
  readonly nodes: readonly number[];
  readonly status: readonly number[];
  readonly statusLinks: readonly number[];
  /** Where the relay listens for each link, by its name. */
  readonly links: ReadonlyMap<string, number>;
}

async function portsFor(nodes: number): Promise<FleetPorts> {
  const ports = await freePorts(5 + 3 * nodes + nodes * (nodes - 1));
  const take = (): number => ports.pop() as number;
  const links = new Map<string, number>();
  for (let from = 0; from < nodes; from++) {
    for (let to = 0; to < nodes; to++) if (from !== to) links.set(linkName(from, to), take());
  }
  return {
    ...{ chain: take(), authority: take(), authorityStatus: take(), twin: take(), twinStatus: take(), links },
    nodes: Array.from({ length: nodes }, take),
    status: Array.from({ length: nodes }, take),
    statusLinks: Array.from({ length: nodes }, take),
  };
}

function nameOf(index: number): string {
  return `node-${index + 1}`;
}

function linkName(from: number, to: number): string {
  return `${from}>${to}`;
}

function leaderOf(views: readonly (SwarmView | undefined)[], count: number): NodeId | undefined {
  const [first] = views;
  if (first?.leader === undefined) return undefined;
  const agree = views.every((view) => {
    if (view?.doubting !== false || view.term !== first.term || view.leader !== first.leader) return false;
    const near = view.members.filter(({ id, connected, status }) => {
      return id !== view.self && connected && status === "alive";
    });
    return near.length >= count - 1;
  });
  const leads = views.some((view) => view?.role === "leader" && view.self === first.leader);
  return agree && leads ? first.leader : undefined;
}

function shortly(view: SwarmView | undefined): unknown {
  if (view === undefined) return null;
  const { term, leader, role, doubting } = view;
  return {
    term,
    leader,
    role,
    doubting,
    alive: view.members.filter(({ status }) => status === "alive").length,
  };
}

async function untilDone<T>(what: string, attempt: () => Promise<T>): Promise<T> {
  const endMs = Date.now() + STARTED_WITHIN_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > endMs) throw new Error(`${what} did not start in time`, { cause: error });
      await wait(50);
    }
  }
}
