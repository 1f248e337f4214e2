import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { fromHex } from "@cloister/core";
import { marketAbi, registryAbi, transparencyLogAbi } from "../src/index.ts";
import { marketBytecode } from "../src/generated/market.ts";
import { registryBytecode } from "../src/generated/registry.ts";
import { transparencyLogBytecode } from "../src/generated/transparency-log.ts";

const CONTRACTS = fileURLToPath(new URL("../../../contracts/", import.meta.url));
const BYTECODES = {
  market: marketBytecode,
  registry: registryBytecode,
  log: transparencyLogBytecode,
} as const;
/** What only another contract of ours may call. */
const BETWEEN_CONTRACTS = ["setFence", "setRunner", "slash"];

/** Opcodes of a program, without what PUSH carries. */
function opcodesOf(bytecode: string): Set<number> {
  const code = fromHex(bytecode);
  const opcodes = new Set<number>();
  for (let at = 0; at < code.length; at++) {
    const opcode = code[at] as number;
    opcodes.add(opcode);
    if (opcode >= 0x60 && opcode <= 0x7f) at += opcode - 0x5f;
  }
  return opcodes;
}

function sources(folder: string): string {
  return readdirSync(join(CONTRACTS, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".sol"))
    .map((name) => readFileSync(join(CONTRACTS, folder, name), "utf8"))
    .join("\n");
}

describe("the contracts", () => {
  test("run no other code in their own name and cannot be destroyed", () => {
    expect(opcodesOf("0x60f4f4").has(0xf4)).toBe(true);
    expect(opcodesOf("0x60f400").has(0xf4)).toBe(false);
    for (const bytecode of Object.values(BYTECODES)) {
      const opcodes = opcodesOf(bytecode);
      for (const opcode of [0xf2, 0xf4, 0xff]) expect(opcodes.has(opcode)).toBe(false);
    }
  });

  test("fit the size that a chain accepts (EIP-170, EIP-3860)", () => {
    for (const bytecode of Object.values(BYTECODES)) expect(fromHex(bytecode).length).toBeLessThan(25_500);
  });

  test("have every entry point reached by the invariants' test", () => {
    const invariants = sources("test/invariant");
    const list = invariants.slice(
      invariants.indexOf("function _entryPoints()"),
      invariants.indexOf("function _stepOrders("),
    );
    const named = [...list.matchAll(/\.(\w+)\.selector/g)].map((match) => match[1]);
    const entryPoints = [...marketAbi, ...registryAbi, ...transparencyLogAbi].flatMap((entry) =>
      entry.type === "function" &&
      (entry.stateMutability === "nonpayable" || entry.stateMutability === "payable")
        ? [entry.name]
        : [],
    );
    const missing = entryPoints.filter((name) => !named.includes(name) && !BETWEEN_CONTRACTS.includes(name));
    expect(missing).toEqual([]);
    expect(entryPoints.length).toBe(40 + BETWEEN_CONTRACTS.length);
  });

  test("keep invariants of which each names tests that are there", () => {
    const page = readFileSync(join(CONTRACTS, "INVARIANTS.md"), "utf8");
    const tests = sources("test");
    const items = page.split("\n").filter((line) => line.startsWith("- **I-"));
    const numbers = items.map((item) => Number(/\*\*I-(\d+)/.exec(item)?.[1])).toSorted((a, b) => a - b);
    expect(numbers).toEqual(Array.from(items, (_, i) => i + 1));
    for (const item of items) {
      const names = [...item.matchAll(/`((?:test|testFuzz|invariant)_\w+)`/g)].map(
        (match) => match[1] as string,
      );
      expect(names.length, item).toBeGreaterThan(0);
      for (const name of names) expect(tests.includes(`function ${name}(`), name).toBe(true);
      const number = /\*\*(I-\d+)/.exec(item)?.[1] as string;
      if (names.includes("invariant_all"))
        expect(tests, number).toMatch(new RegExp(`"[^"]*${number}\\b[^"]*"`));
    }
  });
});
