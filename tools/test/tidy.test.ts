import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { judge, type Ratchet } from "../tidy/rules.ts";
import { readRepository, sourceFile } from "../tidy/source.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The rules that one file breaks, each once. */
function rulesBroken(path: string, text: string): string[] {
  return [...new Set(judge([sourceFile(path, text)]).map((violation) => violation.rule))];
}

test("the repository is tidy", () => {
  const ratchet = JSON.parse(readFileSync(`${root}/tools/tidy/ratchet.json`, "utf8")) as Ratchet;
  const found = judge(readRepository(root), ratchet);
  expect(found.map(({ path, line, rule, message }) => `${path}:${line} ${rule}: ${message}`)).toEqual([]);
});

test("a file that keeps every rule has no violation", () => {
  const text = `import { digestOf } from "@cloister/core";
import type { Part } from "./part.ts";
export function weigh(part: Part, nowMs: number): number {
  const process = { Date: nowMs };
  return digestOf(part.bytes).length + process.Date + new Date(nowMs).getTime();
}
`;
  expect(rulesBroken("packages/swarm/src/weigh.ts", text)).toEqual([]);
});

test.each([
  ["packages/core/src/a.ts", `import { x } from "@cloister/attestation";`],
  ["packages/attestation/src/a.ts", `import type { X } from "@cloister/market";`],
  ["packages/custody/src/a.ts", `export * from "@cloister/certification";`],
  ["packages/market/src/a.ts", `const x = import("@cloister/attestation");`],
  ["packages/node/src/a.ts", `import { x } from "@cloister/adapters";`],
  ["packages/adapters/src/a.ts", `import { x } from "@cloister/sim";`],
  ["packages/adapters/test/a.test.ts", `import { x } from "@cloister/sim";`],
  ["packages/sim/src/a.ts", `import { x } from "@cloister/adapters";`],
  ["packages/sim/src/a.ts", `import { x } from "@cloister/cli";`],
  ["packages/node/test/a.test.ts", `import { x } from "../../../apps/cli/src/main.ts";`],
  ["bench/a.ts", `import { x } from "../apps/cli/src/main.ts";`],
  ["packages/node/src/a.ts", `import { x } from "../../core/src/bytes.ts";`],
  ["packages/swarm/src/a.ts", `type X = import("@cloister/custody").Consent;`],
])("an upward or sideways import in %s is refused: %s", (path, text) => {
  expect(rulesBroken(path, text)).toContain("layers");
});

test.each([
  ["packages/node/src/a.ts", `import { x } from "@cloister/workload";`],
  ["packages/adapters/src/a.ts", `import { x } from "@cloister/node";`],
  ["packages/custody/test/a.test.ts", `import { x } from "../../core/test/samples.ts";`],
  ["apps/cli/src/a.ts", `import { x } from "@cloister/adapters";`],
  ["bench/a.ts", `import { x } from "../packages/core/src/bytes.ts";`],
  ["test/a.test.ts", `import { x } from "../apps/cli/src/main.ts";`],
  ["apps/cli/test/a.test.ts", `import { x } from "../src/main.ts";`],
])("a downward import in %s is fine: %s", (path, text) => {
  expect(rulesBroken(path, text)).toEqual([]);
});

test.each([
  ["packages/core/src/a.ts", `import { readFileSync } from "node:fs";`, "pure"],
  ["packages/core/src/a.ts", `import { createHash } from "node:crypto";`, "pure"],
  ["packages/core/native/a.ts", `import { readFileSync } from "node:fs";`, "pure"],
  ["packages/core/src/a.ts", `import { sha256 } from "../native/crypto.ts";`, "native"],
  ["packages/adapters/src/a.ts", `import { readFileSync } from "fs";`, "builtin-prefix"],
  ["packages/adapters/src/a.ts", `import { x } from "./b";`, "relative-suffix"],
  ["packages/adapters/src/a.ts", `import { WASI } from "node:wasi";`, "module-banned"],
  ["apps/cli/src/a.ts", `import { ec } from "elliptic";`, "module-banned"],
])("an import that %s may not make: %s", (path, text, rule) => {
  expect(rulesBroken(path, text)).toContain(rule);
});

test("native folders may use node:crypto", () => {
  expect(rulesBroken("packages/core/native/a.ts", `import { createHash } from "node:crypto";`)).toEqual([]);
});

test.each([
  "const t = Date.now();",
  "const t = new Date();",
  "const r = Math.random();",
  "const t = performance.now();",
  "const home = process.env.HOME;",
  "setTimeout(() => {}, 1);",
  "await fetch(url);",
  "const socket = new WebSocket(url);",
  "crypto.getRandomValues(bytes);",
  "globalThis.crypto.getRandomValues(bytes);",
  "console.log(1);",
  "const { now = Date.now() } = options;",
  "const ports = { fetch };",
  "const clock = Date.now;",
])("pure code may not reach outside: %s", (text) => {
  expect(
    rulesBroken("packages/workload/src/a.ts", `export async function f(url, bytes, options) { ${text} }`),
  ).toEqual(["banned"]);
});

test.each([
  "const t = { now: Date.UTC(2026, 1) };",
  "const x = options.process;",
  "const o = { fetch: 1 };",
  "class A { fetch() { return 1; } }",
  "function g(fetch) { return fetch(1); }",
])("a name that only looks like a global is fine: %s", (text) => {
  expect(rulesBroken("packages/workload/src/a.ts", `export async function f(options) { ${text} }`)).toEqual(
    [],
  );
});

test.each([
  ["packages/adapters/src/a.ts", "console.log(1);"],
  ["packages/adapters/src/a.ts", "process.exit(1);"],
  ["packages/sim/src/a.ts", "const r = Math.random();"],
  ["apps/cli/src/a.ts", `eval("1");`],
  ["apps/cli/src/a.ts", `const f = new Function("1");`],
  ["apps/cli/src/a.ts", `"abc".substr(1);`],
  ["apps/cli/src/a.ts", "const copy = JSON.parse(JSON.stringify(x));"],
  ["apps/cli/test/a.test.ts", `it.skip("later", () => {});`],
  ["apps/cli/test/a.test.ts", `test.only("now", () => {});`],
  ["apps/cli/test/a.test.ts", `describe.only("now", () => {});`],
])("%s may not say %s", (path, text) => {
  expect(rulesBroken(path, text)).toEqual(["banned"]);
});

test("a conditional skip is fine", () => {
  expect(rulesBroken("apps/cli/test/a.test.ts", `test.skipIf(!has)("needs age", () => {});`)).toEqual([]);
});

test.each([
  ["apps/cli/src/a.ts", "export default 1;"],
  ["apps/cli/src/a.ts", "enum Color { Red }"],
  ["apps/cli/src/a.ts", "class A { constructor(private x: number) {} }"],
  ["apps/cli/src/a.ts", "namespace A { export const x = 1; }"],
])("%s may not hold the construct %s", (path, text) => {
  expect(rulesBroken(path, text)).toEqual(["construct"]);
});

test("a configuration file may export a default, because its tool asks for one", () => {
  expect(rulesBroken("vitest.config.ts", "export default {};")).toEqual([]);
});

test("a function of 71 lines is too long and one of 70 is not", () => {
  const body = (lines: number): string => `export function f() {\n${"f();\n".repeat(lines - 2)}}\n`;
  expect(rulesBroken("apps/cli/src/a.ts", body(71))).toEqual(["function-length"]);
  expect(rulesBroken("apps/cli/src/a.ts", body(70))).toEqual([]);
});

test("the block of a suite may be long, a test in it may not", () => {
  const lines = "f();\n".repeat(90);
  expect(rulesBroken("apps/cli/test/a.test.ts", `describe("a", () => {\n${lines}});`)).toEqual([]);
  expect(rulesBroken("apps/cli/test/a.test.ts", `test("a", () => {\n${lines}});`)).toEqual([
    "function-length",
  ]);
});

test.each([
  ["apps/cli/src/myFile.ts", "file-name"],
  ["apps/cli/src/my_file.ts", "file-name"],
  ["apps/cli/src/SomeFolder/a.ts", "file-name"],
  ["apps/cli/src/a.test.ts", "place"],
])("the path %s is refused", (path, rule) => {
  expect(rulesBroken(path, "export {};")).toEqual([rule]);
});

test.each([
  [`// ${["TO", "DO"].join("")}: later`, "postponed"],
  [`/* ${["FIX", "ME"].join("")} */`, "postponed"],
  ["// ------------", "divider"],
  ["// == parsing ============", "divider"],
  ["// @ts-ignore", "directive"],
  ["// @ts-expect-error", "directive"],
  ["// oxlint-disable-next-line no-await-in-loop", "directive"],
])("the comment %s is refused", (text, rule) => {
  expect(rulesBroken("apps/cli/src/a.ts", `${text}\nexport {};`)).toEqual([rule]);
});

test("a switched-off check with its reason is fine", () => {
  const text =
    "// oxlint-disable-next-line no-await-in-loop -- each write waits for the one before\nexport {};";
  expect(rulesBroken("apps/cli/src/a.ts", text)).toEqual([]);
});

test.each([
  `{"from": "${["", "home", "x", "y"].join("/")}"}`,
  `see ${["registry", "example", "org"].join(".")}`,
])("text that holds on one machine only is refused: %s", (text) => {
  expect(rulesBroken("docs/a.md", text)).toEqual(["words"]);
});

test("an AssemblyScript file is another language", () => {
  expect(
    rulesBroken("examples/engines/x/assembly/index.ts", "export default 1; let x: i32 = Math.random();"),
  ).toEqual([]);
});

const raises = sourceFile("packages/core/src/a.ts", `throw new CloisterError("SAMPLE_BROKEN", "…");`);

test("a code that no test names is refused", () => {
  expect(judge([raises]).map((violation) => violation.rule)).toEqual(["code-untested"]);
});

test.each([
  `return refuse("SAMPLE_BROKEN", "…");`,
  `refusals.push({ code: "SAMPLE_BROKEN", reason: "…" });`,
  `throw malformed("SAMPLE_BROKEN", "…");`,
])("codes are found in %s", (text) => {
  const found = judge([sourceFile("packages/core/src/a.ts", `export function f() { ${text} }`)]);
  expect(found.map((violation) => violation.rule)).toEqual(["code-untested"]);
});

test("a test or a page that names the code is its proof", () => {
  expect(judge([raises, sourceFile("packages/core/test/a.test.ts", `"SAMPLE_BROKEN"`)])).toEqual([]);
  expect(judge([raises, sourceFile("docs/errors.md", "`SAMPLE_BROKEN`: …")])).toEqual([]);
});

test("the ratchet lets known codes pass and demands that used-up entries go", () => {
  expect(judge([raises], { untestedCodes: ["SAMPLE_BROKEN"] })).toEqual([]);
  const found = judge([raises], { untestedCodes: ["SAMPLE_BROKEN", "SAMPLE_GONE"] });
  expect(found.map((violation) => violation.rule)).toEqual(["ratchet"]);
});

test("a vector that expects an unknown code is refused", () => {
  const vector = sourceFile("spec/vectors/a.json", `{"code": "SAMPLE_UNKNOWN"}`);
  expect(judge([vector]).map((violation) => violation.rule)).toEqual(["vector-code"]);
});
