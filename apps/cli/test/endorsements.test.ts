import { existsSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { quote } from "../../../packages/certification/test/proof/forger.ts";
import { runJson, temporaryFolder } from "./run-cli.ts";

const evidence = quote(new Uint8Array(64));

test("an empty store exports a bundle that imports again", async () => {
  using folder = temporaryFolder();
  const exported = await runJson(["endorsements", "export", "-o", "bundle"], { cwd: folder.path });
  expect(exported).toMatchObject({ exitCode: 0, json: { file: "bundle" } });
  const imported = await runJson(["endorsements", "import", "bundle"], { cwd: folder.path });
  expect(imported).toEqual({ exitCode: 0, json: { imported: 0 } });
});

test.each([
  [["import", "text"], "ENDORSEMENTS_BUNDLE_MALFORMED", 1],
  [["import", "missing"], "FILE_NOT_FOUND", 4],
  [["fetch", "quote", "-o", "out", "--offline"], "ENDORSEMENTS_OFFLINE", 3],
  [["fetch", "quote", "-o", "out", "--pccs", "http://127.0.0.1:9"], "ENDORSEMENTS_UNAVAILABLE", 3],
  [["fetch", "quote", "-o", "out", "--pccs", "ftp://127.0.0.1"], "USAGE_INVALID_ARGUMENT", 2],
  [["fetch", "quote", "-o", "out", "--product", "rome"], "USAGE_INVALID_ARGUMENT", 2],
  [["fetch", "text", "-o", "out"], "EVIDENCE_KIND_UNRECOGNIZED", 1],
  [["fetch", "text", "-o", "out", "--tee", "arm-psa"], "ENDORSEMENTS_KIND_UNSUPPORTED", 1],
  [["fetch", "quote"], "USAGE_MISSING_MANDATORY_OPTION_VALUE", 2],
])("endorsements %j is refused with its code, and nothing is written", async (args, code, expected) => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("quote"), evidence.bytes);
  writeFileSync(folder.file("text"), "these are no bytes of any processor");
  const { exitCode, json } = await runJson(["endorsements", ...args], { cwd: folder.path });
  expect(json).toHaveProperty("error.code", code);
  expect(exitCode).toBe(expected);
  expect(existsSync(folder.file("out"))).toBe(false);
});
