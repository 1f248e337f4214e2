import { dirname, extname } from "node:path";
import { fileURLToPath } from "node:url";
import type { EngineLimits } from "@cloister/workload";
import type { Isolation } from "./isolation.ts";

/** The engine's own memory is limited exactly; this is for the runner's heap beside it. */
const HEAP_MIB = 128;
const TABLE_ENTRIES_MAX = 1_000_000;
const CODE_MIB_MAX = 512;
const PAGE_BYTES = 65_536;

/** How the runner process is started; tests put a program of their own in the runner's place. */
export function commandLine(
  limits: EngineLimits,
  isolation: Isolation,
  program?: readonly string[],
): [string, ...string[]] {
  const runner = fileURLToPath(new URL(`./runner${extname(import.meta.url)}`, import.meta.url));
  const shim = dirname(dirname(fileURLToPath(import.meta.resolve("@bjorn3/browser_wasi_shim"))));
  const cpuSeconds = Math.max(1, Math.ceil(limits.cpuMs / 1000));
  // The soft limit ends the process with SIGXCPU, by which it is told from a kill; the hard one is for
  // a process that would ignore that. Nothing is written to disk, hence a file size limit of 0.
  const ulimits = `ulimit -c 0; ulimit -f 0; ulimit -H -t ${cpuSeconds + 2}; ulimit -S -t ${cpuSeconds}`;
  return [
    "/bin/sh",
    "-c",
    `${ulimits}; unset PWD OLDPWD SHLVL; exec "$@"`,
    "sandbox",
    ...isolation.prefix,
    process.execPath,
    "--permission",
    `--allow-fs-read=${dirname(runner)}/`,
    `--allow-fs-read=${shim}/`,
    "--no-warnings",
    "--disallow-code-generation-from-strings",
    `--max-old-space-size=${HEAP_MIB}`,
    `--wasm-max-mem-pages=${Math.floor(limits.memoryBytes / PAGE_BYTES)}`,
    `--wasm-max-table-size=${TABLE_ENTRIES_MAX}`,
    `--wasm-max-committed-code-mb=${CODE_MIB_MAX}`,
    ...(program ?? [runner]),
  ];
}
