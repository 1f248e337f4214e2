import type { ReportOutput } from "@cloister/certification";
import {
  CloisterError,
  codeOf,
  concat,
  digestOf,
  encodeCanonical,
  sha256,
  utf8,
  type Digest,
  type OrderId,
} from "@cloister/core";
import { collect, openWithFileKey, parseRecipient, readSealed, seal } from "@cloister/custody";
import type { Cancellation } from "../cancellation.ts";
import { exitCodeOf } from "../exit-codes.ts";
import { isEngineFileName, type EngineFile, type EngineResult } from "../sandbox.ts";
import { packTar } from "../tar.ts";
import type { Plan, PlannedInput } from "./judge.ts";
import type { LoaderPorts, OrderOnChain, SignedAssignment } from "./ports.ts";
import type { Wiper } from "./wiper.ts";

const LOG_BYTES_MAX = 64 * 1024;
const SEED_DOMAIN = "cloister/engine-seed/v1";

/** Refusals of key-release members that see the chain later than this node, or the other way round. */
const PASSING: ReadonlySet<string> = new Set([
  "RELEASE_CHALLENGE_EXPIRED",
  "RELEASE_CHALLENGE_UNKNOWN",
  "RELEASE_EPOCH_OTHER",
  "RELEASE_NODE_NOT_ASSIGNED",
  "RELEASE_ORDER_UNKNOWN",
  "RELEASE_TOO_FEW",
]);

/** How a run ended, before anything of it left the CVM. */
export interface Execution {
  readonly exit: { readonly code: number; readonly reason: string };
  readonly outputs: readonly ReportOutput[];
  /** The result, sealed to the recipient alone; undefined after a failure. */
  readonly sealed: Uint8Array | undefined;
}

/** What stopped a run, in the one code that its report carries. */
class Stopped extends Error {
  readonly code: string;
  readonly engineCode: number;

  constructor(code: string, engineCode = 0) {
    super(code);
    this.code = code;
    this.engineCode = engineCode;
  }
}

/**
 * Opens what the plan names, runs the engine on it and seals what came out. What fails in the order
 * itself is an execution with a reason; what fails around it (a store or the key-release group out of
 * reach, a sandbox that does not start) is thrown, and the order can be tried again.
 */
export async function execute(
  ports: LoaderPorts,
  order: OrderOnChain,
  assignment: SignedAssignment,
  plan: Plan,
  wiper: Wiper,
  cancellation?: Cancellation,
): Promise<Execution> {
  try {
    const module = await openInput(ports, assignment, plan, plan.engine, wiper);
    const inputs: EngineFile[] = [];
    for (const input of plan.inputs) {
      inputs.push({ name: input.name, bytes: await openInput(ports, assignment, plan, input, wiper) });
    }
    ports.log.info("engine-started", { order: assignment.orderId, inputs: inputs.length });
    const result = await runEngine(ports, order, assignment.orderId, plan, module, inputs, cancellation);
    wiper.note("sandbox");
    return await sealOutputs(checkOutputs(result, plan, wiper), plan, ports);
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    const exit = { code: exitCodeOf(error.code, error.engineCode), reason: error.code };
    return { exit, outputs: [], sealed: undefined };
  }
}

async function openInput(
  ports: LoaderPorts,
  assignment: SignedAssignment,
  plan: Plan,
  input: PlannedInput,
  wiper: Wiper,
): Promise<Uint8Array> {
  const { headerBytes, consentBytes } = input;
  const request = { orderId: assignment.orderId, offerId: input.id, assignment, headerBytes, consentBytes };
  const released = await ports.release.release({ ...request, argsBytes: plan.argsBytes });
  if (!released.ok) {
    const refusals = released.refusals.map(({ code, reason }) => `${code}: ${reason}`);
    ports.log.warn("key-refused", { order: assignment.orderId, offer: input.id, refusals });
    if (released.refusals.every(({ code }) => PASSING.has(code))) throw delayed(refusals);
    throw new Stopped("LOADER_KEY_REFUSED");
  }
  const fileKey = wiper.keep("keys", released.value);
  const content = await openObject(ports, input, fileKey, wiper);
  if (digestOf(content) !== input.offer.contentDigest) throw new Stopped("LOADER_CONTENT_DIGEST_MISMATCH");
  return content;
}

function delayed(refusals: readonly string[]): CloisterError {
  return new CloisterError(
    "LOADER_KEY_DELAYED",
    "The key-release members do not see the order as this node does yet.",
    {
      hint: "It is tried again until too little time is left before the order's deadline.",
      details: { refusals },
    },
  );
}

/**
 * The store is read a second time here and may answer otherwise. The file key was released for the header
 * that was judged: no other opens with it, and the plaintext is held against its digest afterwards.
 */
async function openObject(
  ports: LoaderPorts,
  input: PlannedInput,
  fileKey: Uint8Array,
  wiper: Wiper,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  try {
    const reader = await readSealed(ports.store.get(input.offer.sealedDigest));
    for await (const chunk of openWithFileKey(reader, fileKey)) chunks.push(wiper.keep("inputs", chunk));
  } catch (error) {
    if (codeOf(error).startsWith("SEALED_")) throw new Stopped("LOADER_OBJECT_UNREADABLE");
    throw error;
  }
  return wiper.keep("inputs", concat(...chunks));
}

async function runEngine(
  ports: LoaderPorts,
  order: OrderOnChain,
  orderId: OrderId,
  plan: Plan,
  module: Uint8Array,
  inputs: readonly EngineFile[],
  cancellation: Cancellation | undefined,
): Promise<EngineResult> {
  const { memoryBytes, runMs, outputBytes } = plan.limits;
  const job = {
    module,
    args: plan.args.engine === undefined ? new Uint8Array() : utf8(plan.args.engine),
    inputs,
    seed: engineSeed(orderId),
    clockMs: order.openedAtMs,
    limits: {
      wallMs: runMs,
      cpuMs: runMs,
      memoryBytes,
      outputBytesMax: outputBytes,
      outputFilesMax: ports.limits.outputFiles,
      logBytesMax: LOG_BYTES_MAX,
    },
  };
  return ports.sandbox.run(job, cancellation);
}

/** What an order's engine draws its randomness from. */
export function engineSeed(orderId: OrderId): Uint8Array {
  return sha256(encodeCanonical([SEED_DOMAIN, orderId]));
}

/** What an engine printed is wiped with its outputs: it may hold what no consent lets out. */
function checkOutputs(result: EngineResult, plan: Plan, wiper: Wiper): readonly EngineFile[] {
  wiper.keep("outputs", result.logs.stdout);
  wiper.keep("outputs", result.logs.stderr);
  if (!result.ok) throw new Stopped(result.code, result.exitCode);
  for (const { bytes } of result.outputs) wiper.keep("outputs", bytes);
  const sizeBytes = result.outputs.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const named = result.outputs.every(({ name }) => isEngineFileName(name));
  if (sizeBytes > plan.limits.outputBytes || !named) throw new Stopped("ENGINE_OUTPUT_TOO_LARGE");
  return result.outputs;
}

async function sealOutputs(files: readonly EngineFile[], plan: Plan, ports: LoaderPorts): Promise<Execution> {
  const archive = packTar(files);
  const recipient = parseRecipient(plan.args.recipient);
  const sealed = await collect(seal([archive], [recipient], ports.entropy));
  archive.fill(0);
  const sealedDigest: Digest = digestOf(sealed);
  const outputs = files
    .map(({ name, bytes }) => ({
      name,
      content: digestOf(bytes),
      sealed: sealedDigest,
      sizeBytes: bytes.length,
    }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return { exit: { code: 0, reason: "done" }, outputs, sealed };
}
