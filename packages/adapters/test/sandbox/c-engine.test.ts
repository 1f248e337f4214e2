import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fromUtf8, utf8 } from "@cloister/core";
import { expect, test } from "vitest";
import { createWasmSandbox } from "../../src/sandbox/index.ts";
import { jobOf } from "./jobs.ts";

/** Undefined where there is no C compiler for WebAssembly. */
function compile(): Uint8Array | undefined {
  const folder = mkdtempSync(join(tmpdir(), "cloister-engine-"));
  try {
    const source = fileURLToPath(new URL("c-engine.c", import.meta.url));
    for (const compiler of ["clang", "clang-14"]) {
      const output = join(folder, "engine.wasm");
      const { status } = spawnSync(compiler, ["--target=wasm32-wasi", "-O2", source, "-o", output]);
      if (status === 0) return new Uint8Array(readFileSync(output));
    }
    return undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("a C program over wasi-libc reads, writes, renames and sleeps as it is used to", async (ctx) => {
  const module = compile();
  if (module === undefined) {
    ctx.skip("This machine has no clang with wasi-libc.");
    return;
  }
  const inputs = [
    { name: "a", bytes: utf8("first\nsecond\n") },
    { name: "b", bytes: utf8("only\n") },
  ];
  const result = await createWasmSandbox().run(jobOf(module, { inputs }));
  expect(result).toMatchObject({ ok: true });
  const outputs = result.ok ? result.outputs.map(({ name, bytes }) => [name, fromUtf8(bytes)]) : [];
  expect(outputs).toEqual([["list", "a 13 13 first\nb 5 5 only\nslept 5 s\nappended\n"]]);
  expect(fromUtf8(result.logs.stdout)).toBe("done\n");
});
