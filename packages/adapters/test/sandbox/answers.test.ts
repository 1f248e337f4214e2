/** What the parent makes of a child that does not answer as our runner does. */
import { hostileEngine } from "@cloister/examples/hostile-engines";
import type { EngineResult } from "@cloister/workload";
import { expect, test } from "vitest";
import { createWasmSandbox } from "../../src/sandbox/index.ts";
import { jobOf, limits } from "./jobs.ts";

const honest = {
  ...{ end: "exited", reason: "", exitCode: 0, memoryBytes: 65_536, stdoutBytes: 0, stderrBytes: 0 },
  outputs: [{ name: "a", sizeBytes: 3 }],
};

/** A program in the runner's place that writes this answer, whatever it is asked. */
async function answered(header: object, body: string): Promise<EngineResult> {
  const script = `
    const header = ${JSON.stringify(header)};
    if (header.reason === "endless") header.reason = "x".repeat(1024 * 1024);
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    process.stdin.resume();
    process.stdin.on("end", () => process.stdout.write(Buffer.concat([length, text, Buffer.from(${body})])));`;
  const prefix = [process.execPath, "-e", script];
  const sandbox = createWasmSandbox({ networkNamespace: false, diesWithParent: false, prefix });
  return sandbox.run(jobOf(hostileEngine("writes-nothing")));
}

test("an answer in the runner's form is taken", async () => {
  expect(await answered(honest, `"abc"`)).toMatchObject({ ok: true, outputs: [{ name: "a" }] });
});

test.each<[string, unknown, string]>([
  [
    "more bytes than allowed",
    { outputs: [{ name: "a", sizeBytes: limits.outputBytesMax + 1 }] },
    `Buffer.alloc(${limits.outputBytesMax + 1})`,
  ],
  [
    "more files than allowed",
    { outputs: Array.from({ length: 17 }, (_, i) => ({ name: `a${i}`, sizeBytes: 0 })) },
    `""`,
  ],
])("%s are ENGINE_OUTPUT_TOO_LARGE whatever the runner let through", async (_what, change, body) => {
  expect(await answered({ ...honest, ...(change as object) }, body)).toMatchObject({
    ok: false,
    code: "ENGINE_OUTPUT_TOO_LARGE",
  });
});

test.each<[string, unknown, string?]>([
  ["an output beside the folder", { outputs: [{ name: "../a", sizeBytes: 3 }] }],
  [
    "two outputs of one name",
    {
      outputs: [
        { name: "a", sizeBytes: 1 },
        { name: "a", sizeBytes: 2 },
      ],
    },
  ],
  ["sizes that do not add up", { outputs: [{ name: "a", sizeBytes: 4 }] }],
  ["a negative size", { stdoutBytes: -3, outputs: [{ name: "a", sizeBytes: 6 }] }],
  ["an end that is none", { end: "constructor" }],
  ["an exit code of 32 bits", { exitCode: 256 }],
  ["no outputs at all", { outputs: null }],
  ["an endless header", { reason: "endless" }],
  ["an endless body", {}, `Buffer.alloc(16 * 1024 * 1024)`],
])("%s is SANDBOX_UNAVAILABLE, not an output", async (_what, change, body = `"abc"`) => {
  const run = answered({ ...honest, ...(change as object) }, body);
  await expect(run).rejects.toMatchObject({ code: "SANDBOX_UNAVAILABLE" });
});
