import { expect, test } from "vitest";
import { compile } from "../tools/compile.ts";
import { CONTRACTS, generate, staleFiles } from "../tools/generate.ts";

const EIP_170_BYTES_MAX = 24_576;

test("the generated modules are what the sources give, and fit into a chain", { timeout: 300_000 }, () => {
  const artifacts = compile(CONTRACTS);
  expect(staleFiles(generate(artifacts))).toEqual([]);
  const tooLarge = artifacts.filter((artifact) => artifact.runtimeBytes > EIP_170_BYTES_MAX);
  expect(tooLarge.map((artifact) => artifact.name)).toEqual([]);
});
