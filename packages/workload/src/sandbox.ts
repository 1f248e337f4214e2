import type { Cancellation } from "./cancellation.ts";

/** A file as an engine sees it: one name, no folders. */
export interface EngineFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** What one run may use at most. spec/engine.md §5 */
export interface EngineLimits {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly memoryBytes: number;
  readonly outputBytesMax: number;
  readonly outputFilesMax: number;
  /** Kept of each of standard output and standard error; the rest is dropped. */
  readonly logBytesMax: number;
}

/** Everything that one run can see. The same job gives the same outputs, whoever runs it. */
export interface EngineJob {
  readonly module: Uint8Array;
  /** The content of `/args.json`; empty means that there is no such file. */
  readonly args: Uint8Array;
  readonly inputs: readonly EngineFile[];
  /** 32 bytes from which `random_get` draws. */
  readonly seed: Uint8Array;
  /** What the engine's real-time clock shows at the start. */
  readonly clockMs: number;
  readonly limits: EngineLimits;
}

/** Why an engine's run does not count. These are the engine's doing; an order ends with them. */
export type EngineFailureCode =
  | "ENGINE_EXITED_NONZERO"
  | "ENGINE_IMPORT_FORBIDDEN"
  | "ENGINE_MALFORMED"
  | "ENGINE_MEMORY_EXCEEDED"
  | "ENGINE_NO_OUTPUT"
  | "ENGINE_OUTPUT_TOO_LARGE"
  | "ENGINE_TIME_EXCEEDED"
  | "ENGINE_TRAPPED";

/** What a run printed. It may hold anything the inputs hold, so it never leaves the CVM in the clear. */
export interface EngineLogs {
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

export type EngineResult =
  | {
      readonly ok: true;
      readonly outputs: readonly EngineFile[];
      readonly logs: EngineLogs;
      readonly memoryBytes: number;
    }
  | {
      readonly ok: false;
      readonly code: EngineFailureCode;
      readonly reason: string;
      /** As the engine gave it; 0 when it gave none. */
      readonly exitCode: number;
      readonly logs: EngineLogs;
    };

/**
 * Runs engines where they can reach nothing but their job: no host file, no network, no clock, no
 * entropy, within limits.
 */
export interface Sandbox {
  readonly kind: string;
  /**
   * Runs one job to its end.
   * @throws {CloisterError} `SANDBOX_ABORTED`; `SANDBOX_UNAVAILABLE` when the sandbox itself failed,
   * which says nothing about the engine.
   */
  run(job: EngineJob, cancellation?: Cancellation): Promise<EngineResult>;
}

/** Names of inputs and outputs: what every file system and archive takes alike. */
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Tells whether a name can be one of an engine's files. */
export function isEngineFileName(name: string): boolean {
  return FILE_NAME.test(name);
}
