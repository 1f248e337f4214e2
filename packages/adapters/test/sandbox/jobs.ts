import { utf8 } from "@cloister/core";
import type { EngineFile, EngineJob, EngineLimits } from "@cloister/workload";

export const limits: EngineLimits = {
  wallMs: 15_000,
  cpuMs: 10_000,
  memoryBytes: 64 * 1024 * 1024,
  outputBytesMax: 1024 * 1024,
  outputFilesMax: 16,
  logBytesMax: 4096,
};

export function jobOf(
  module: Uint8Array,
  options: {
    limits?: Partial<EngineLimits>;
    args?: unknown;
    inputs?: readonly EngineFile[];
    seed?: Uint8Array;
    clockMs?: number;
  } = {},
): EngineJob {
  return {
    module,
    args: utf8(JSON.stringify(options.args ?? {})),
    inputs: options.inputs ?? [{ name: "input-0", bytes: utf8("secret") }],
    seed: options.seed ?? new Uint8Array(32),
    clockMs: options.clockMs ?? 1_800_000_000_000,
    limits: { ...limits, ...options.limits },
  };
}
