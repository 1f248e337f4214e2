import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runCli, runJson, smallDisk, temporaryFolder } from "./run-cli.ts";

const UNKNOWN = `sha256:${"ab".repeat(32)}`;

type Folder = ReturnType<typeof temporaryFolder>;

async function put(folder: Folder, content: string): Promise<string> {
  writeFileSync(folder.file("x"), content);
  const { exitCode, json } = await runJson(["files", "put", "x"], { cwd: folder.path });
  expect(exitCode).toBe(0);
  return json["digest"] as string;
}

test("what was put is listed and comes back", async () => {
  using folder = temporaryFolder();
  const digest = await put(folder, "content");
  expect(digest).toBe((await runJson(["digest", folder.file("x")])).json["digest"]);
  expect((await runJson(["files", "list"], { cwd: folder.path })).json).toEqual({
    objects: [{ digest, sizeBytes: 7 }],
  });
  const got = await runCli(["files", "get", digest, "-o", "-"], { cwd: folder.path });
  expect(got).toEqual({ exitCode: 0, stdout: "content", stderr: "" });
});

test("the same bytes are kept once", async () => {
  using folder = temporaryFolder();
  expect(await put(folder, "content")).toBe(await put(folder, "content"));
  const { json } = await runJson(["files", "list"], { cwd: folder.path });
  expect(json["objects"]).toHaveLength(1);
});

test("the state folder is chosen by --home or CLOISTER_HOME", async () => {
  using folder = temporaryFolder();
  const env = { CLOISTER_HOME: folder.file("by-env") };
  await runCli(["files", "put", "-"], { stdin: "1", env });
  await runCli(["files", "put", "-", "--home", folder.file("by-flag")], { stdin: "2", env });
  expect(readdirSync(folder.path).toSorted()).toEqual(["by-env", "by-flag"]);
});

test("looking into an empty store creates nothing", async () => {
  using folder = temporaryFolder();
  const listed = await runCli(["files", "list"], { cwd: folder.path });
  expect(listed).toEqual({ exitCode: 0, stdout: "The store is empty.\n", stderr: "" });
  expect(readdirSync(folder.path)).toEqual([]);
});

test.each([
  [["get", UNKNOWN, "-o", "out"], "OBJECT_NOT_FOUND", 4],
  [["get", "sha256:abc", "-o", "out"], "DIGEST_MALFORMED", 1],
  [["put", "missing"], "FILE_NOT_FOUND", 4],
  [["put", "."], "FILE_IS_FOLDER", 1],
  [["get", UNKNOWN], "USAGE_MISSING_MANDATORY_OPTION_VALUE", 2],
])("files %j is refused with its code", async (args, code, expected) => {
  using folder = temporaryFolder();
  const { exitCode, json } = await runJson(["files", ...args], { cwd: folder.path });
  expect(json).toHaveProperty("error.code", code);
  expect(exitCode).toBe(expected);
  expect(existsSync(folder.file("out"))).toBe(false);
});

test("an object that was changed in the store is refused, and nothing is written", async () => {
  using folder = temporaryFolder();
  const digest = await put(folder, "content");
  const objects = join(folder.path, ".cloister", "objects");
  const stored = readdirSync(objects, { recursive: true, encoding: "utf8" }).find((name) =>
    name.endsWith(digest.slice(7)),
  );
  const path = join(objects, stored ?? "");
  rmSync(path);
  writeFileSync(path, "kontent");
  const { exitCode, json } = await runJson(["files", "get", digest, "-o", "out"], { cwd: folder.path });
  expect(exitCode).toBe(1);
  expect(json).toHaveProperty("error.code", "OBJECT_CORRUPT");
  expect(existsSync(folder.file("out"))).toBe(false);
  expect(readFileSync(folder.file("x"), "utf8")).toBe("content");
});

test("a store that cannot be made is named with its code", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("home"), "a file, not a folder");
  const { exitCode, json } = await runJson(["files", "put", "-", "--home", folder.file("home")], {
    stdin: "x",
  });
  expect(json).toHaveProperty("error.code", expect.stringMatching(/^OBJECT_STORE_/));
  expect(exitCode).not.toBe(0);
});

test("a full disk leaves no half object (needs the right to mount a small disk)", async (context) => {
  using folder = temporaryFolder();
  mkdirSync(folder.file("home"));
  using disk = smallDisk(folder.file("home"));
  context.skip(disk === undefined, "this user may not mount a tmpfs");
  const home = ["--home", folder.file("home")];
  const { exitCode, json } = await runJson(["files", "put", "-", ...home], { stdin: "x".repeat(300_000) });
  expect(json).toHaveProperty("error.code", "OBJECT_STORE_FULL");
  expect(exitCode).toBe(3);
  expect((await runJson(["files", "list", ...home])).json).toEqual({ objects: [] });
});
