import { readFileSync, watch } from "node:fs";
import { cpus, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { simulationEndorsements, simulationRoots, type Endorsements } from "@cloister/attestation";
import { openChain, rehearseSigning } from "@cloister/adapters/chain";
import { jsonLog, systemClock, systemEntropy, systemTimers } from "@cloister/adapters/platform";
import { openDirectoryRecords } from "@cloister/adapters/records";
import { createWasmSandbox } from "@cloister/adapters/sandbox";
import { serveStatus } from "@cloister/adapters/status";
import { openDirectoryStore } from "@cloister/adapters/store";
import { measureImage, SimulatedTee, type Image } from "@cloister/adapters/tee";
import { RaTlsTransport } from "@cloister/adapters/transport";
import {
  CloisterError,
  codeOf,
  digestFrom,
  fromHex,
  type Address,
  type Clock,
  type Log,
  type OrderId,
} from "@cloister/core";
import { isMeasurementApproved, type Chain, type Deployment } from "@cloister/market";
import {
  AuthorityNode,
  barredNodes,
  bootCvm,
  chainBoundClock,
  channelReportData,
  CvmNode,
  selfSignedCertificate,
  Verifier,
  type Cvm,
  type Handler,
  type Machine,
  type Transport,
} from "@cloister/node";
import { failureOf } from "../cli/errors.ts";
import { RecentLog } from "./events.ts";
import { parseJsonFile, writeJsonFile } from "./layout.ts";

/** How one CVM process is started; written by the supervisor, read once. */
export interface CvmConfig {
  readonly name: string;
  readonly role: "authority" | "node";
  readonly rpcUrl: string;
  /** Absent until the contracts are deployed: an authority must show its key first. */
  readonly deployment?: Deployment;
  readonly port: number;
  /** The address on which it listens for other CVMs; absent: loopback only. */
  readonly listenHost?: string;
  /** Where others reach it, when that is not its port on loopback: what the chain is told. */
  readonly advertise?: string;
  readonly statusPort: number;
  readonly authorityEndpoint: string;
  /** Where the nodes listen that make the certification authority's key together; none: an authority of one CVM. */
  readonly founders?: readonly string[];
  readonly objects: string;
  readonly platform: string;
  readonly records: string;
  readonly identityFile: string;
  readonly operator: Address;
  /** Hex. */
  readonly operatorSecret: string;
  readonly votersMin: number;
  /** Where the operator says that the machine stands. */
  readonly region?: string;
  /** Where it logs; absent: standard output. */
  readonly logFile?: string;
  /** Files that the operator adds to the image; they are measured. */
  readonly added?: readonly string[];
}

const DAY_MS = 86_400_000;
const MIB = 1024 * 1024;
const REPOSITORY = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..", "..");

/** What a local network's machines measure: this program, the pins of its dependencies, the role. */
export function imageOf(role: CvmConfig["role"], added: readonly string[] = []): Image {
  const program = ["packages", "apps/cli/src", "apps/cli/bin"];
  return { root: REPOSITORY, program, lockFile: join(REPOSITORY, "package-lock.json"), role, added };
}

/** What a CVM process takes from its host besides its configuration; test hosts bend it. */
export interface CvmHost {
  readonly clock: Clock;
  /** What stands between this CVM's own transport and what it sees as one. */
  wrap(transport: Transport): Transport;
  /** The firmware of the simulated machine, and the oldest that its simulated vendor calls up to date. */
  readonly firmware: number;
  firmwareMin(): number;
}

const PLAIN_HOST: CvmHost = {
  clock: systemClock,
  wrap: (transport) => transport,
  firmware: 1,
  firmwareMin: () => 1,
};

/** A CVM that runs in this process. */
export interface RunningCvm {
  /** Leaves in good order; afterwards the process may end. */
  drain(): Promise<void>;
}

/** Runs one CVM until its supervisor goes away or asks it to stop. */
export async function runCvm(configFile: string, host = PLAIN_HOST): Promise<RunningCvm> {
  const config = readConfig(configFile);
  const log = new RecentLog(jsonLog(config.name, config.logFile), host.clock);
  process.on("uncaughtException", (error) => crash(log, error));
  try {
    return await startCvm(config, configFile, log, host);
  } catch (error) {
    const { code, message, hint } = failureOf(error);
    log.warn("start-failed", { code, reason: message, ...(hint === undefined ? {} : { hint }) });
    throw error;
  }
}

async function startCvm(
  config: CvmConfig,
  configFile: string,
  log: RecentLog,
  host: CvmHost,
): Promise<RunningCvm> {
  const nowMs = host.clock.nowMs();
  const platform = await openDirectoryRecords(config.platform, nowMs);
  const records = await openDirectoryRecords(config.records, nowMs);
  const launch = await measureImage(imageOf(config.role, config.added));
  const tee = await SimulatedTee.launch(platform, launch, systemEntropy, "tdx", host.firmware);
  const cvm = await bootCvm(tee, records, systemEntropy);
  writeJsonFile(config.identityFile, { id: cvm.keys.settlement, pid: process.pid });
  const deployment = config.deployment ?? (await deploymentLater(configFile));
  const chain = await openChainPatiently(config.rpcUrl, deployment);
  await rehearseSigning(deployment.chainId);
  const clock = await chainBoundClock(host.clock, { chain, timers: systemTimers, log });
  const verifier = simulationVerifier(chain, clock, host.firmwareMin);
  const openTransport = (handler: Handler): Promise<Transport> =>
    listen(config, { ...host, clock }, cvm, verifier, handler, log);
  const ports = {
    ...{ cvm, verifier, chain, records, log, clock },
    ...{ timers: systemTimers, entropy: systemEntropy },
    operatorSecret: fromHex(config.operatorSecret),
    founders: config.founders ?? [],
  };
  if (config.role === "authority") {
    const authority = await AuthorityNode.start({ ...ports, openTransport });
    await serveStatus(config.statusPort, {
      status: () => ({ id: cvm.keys.settlement, logSize: authority.logSize, simulated: tee.simulated }),
      metrics: () => authority.metrics(),
      resource: (path) => authority.resource(path),
    });
    log.info("started", { id: cvm.keys.settlement, port: config.port });
    return { drain: () => Promise.resolve() };
  }
  const node = await CvmNode.start({
    ...ports,
    openTransport,
    store: await openDirectoryStore(config.objects, nowMs),
    sandbox: createWasmSandbox(),
    machine: machine(config),
    limits: LIMITS,
    operator: config.operator,
    stakeWei: 0n,
    votersMin: config.votersMin,
    endpoint: config.advertise ?? `127.0.0.1:${config.port}`,
    authorityEndpoint: config.authorityEndpoint,
  });
  await serveStatus(config.statusPort, {
    status: () => ({ ...node.status(), process: processFacts(), events: log.recent() }),
    metrics: () => node.metrics(),
    proof: (orderId) => node.proof(orderId as OrderId),
    order: (orderId) => node.orderEnd(orderId as OrderId),
  });
  log.info("started", { id: cvm.keys.settlement, port: config.port });
  return { drain: () => node.drain() };
}

/** What one order may use on a node of a local network. */
const LIMITS = {
  runMs: 120_000,
  memoryBytes: 512 * MIB,
  outputBytes: 64 * MIB,
  outputFiles: 256,
  inputBytes: 256 * MIB,
  settleMs: 5_000,
};

/** Leaves when the supervisor's end of the pipe closes, however the supervisor ended. */
export function leaveWithParent(): void {
  process.stdin.on("end", () => process.exit(0));
  process.stdin.on("error", () => process.exit(0));
  process.stdin.resume();
}

/** The verifier of a simulated network: the simulation's root and nothing else, approved measurements only. */
export function simulationVerifier(
  chain: Chain,
  clock: Clock = systemClock,
  firmwareMin: () => number = () => 1,
): Verifier {
  let edition = "";
  let endorsements: Endorsements | undefined;
  return new Verifier({
    roots: simulationRoots,
    policy: { tees: ["tdx"], tcbStatuses: ["UpToDate"], simulated: "require" },
    clock,
    source: {
      endorsementsFor: async (_evidence, nowMs) => {
        const today = `${Math.floor(nowMs / DAY_MS)}/${firmwareMin()}`;
        if (endorsements === undefined || edition !== today)
          endorsements = simulationEndorsements(nowMs, firmwareMin());
        edition = today;
        return endorsements;
      },
      edition: () => String(firmwareMin()),
    },
    barred: () => {
      const state = chain.view()?.state;
      return state === undefined ? [] : barredNodes(state);
    },
    approved: () => {
      const state = chain.view()?.state;
      const digests = [...(state?.measurements.keys() ?? [])].map(digestFrom);
      return digests
        .filter((one) => state !== undefined && isMeasurementApproved(state, one, clock.nowMs()))
        .map((measurement) => ({ measurement }));
    },
  });
}

async function listen(
  config: CvmConfig,
  host: CvmHost,
  cvm: Cvm,
  verifier: Verifier,
  handler: Handler,
  log: Log,
): Promise<Transport> {
  const { keys, tee } = cvm;
  const transport = new RaTlsTransport({
    self: {
      identitySeed: keys.identitySeed,
      identity: keys.identity,
      settlement: keys.settlement,
      wrap: keys.wrap,
      machine: machine(config),
      certificate: selfSignedCertificate(cvm, host.clock, systemEntropy),
      tee: tee.kind,
      evidence: (reportData) => tee.evidence(reportData),
    },
    bind: channelReportData,
    admission: verifier.admission(),
    handler,
    entropy: systemEntropy,
    log,
  });
  await transport.listen(config.port, config.listenHost);
  return host.wrap(transport);
}

/** A bug, or a machine that gives way: one line that says so, like any other, and whoever keeps the process starts it anew. */
function crash(log: Log, error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  log.warn("crashed", {
    code: codeOf(error),
    reason,
    stack: error instanceof Error ? error.stack : undefined,
  });
  process.exit(1);
}

/** What this process takes of its machine. */
function processFacts(): Readonly<Record<string, number>> {
  const { user, system } = process.cpuUsage();
  return {
    pid: process.pid,
    upSeconds: process.uptime(),
    cpuSeconds: (user + system) / 1e6,
    memoryBytes: process.memoryUsage.rss(),
  };
}

function machine({ region }: CvmConfig): Machine {
  const counts = { cpus: cpus().length, memoryBytes: totalmem(), gpus: 0 };
  return region === undefined ? counts : { ...counts, region };
}

function readConfig(file: string): CvmConfig {
  return parseJsonFile<CvmConfig>(readFileSync(file, "utf8"), file, "CVM_CONFIG_MALFORMED");
}

function deploymentLater(configFile: string): Promise<Deployment> {
  return new Promise((resolve) => {
    const look = (): void => {
      const { deployment } = readConfig(configFile);
      if (deployment === undefined) return;
      watcher.close();
      resolve(deployment);
    };
    const watcher = watch(dirname(configFile), look);
    look();
  });
}

/** The chain may be starting, or starting again, at the same time. */
async function openChainPatiently(rpcUrl: string, deployment: Deployment): Promise<Chain> {
  for (;;) {
    try {
      const chain = await openChain({ rpcUrl, deployment });
      await chain.refresh();
      return chain;
    } catch (error) {
      if (!(error instanceof CloisterError) || error.code !== "CHAIN_UNREACHABLE") throw error;
      await systemTimers.wait(300);
    }
  }
}
