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
  [["get", UNKNOWN, "-o", "out"], "OBJECT_STORE_NOT_FOUND", 4],
  [["get", UNKNOWN, "-o", "out", "--store", "mistyped"], "OBJECT_STORE_NOT_FOUND", 4],
  [["list", "--store", "mistyped"], "OBJECT_STORE_NOT_FOUND", 4],
  [["repair", "--store", "mistyped", "--store", "too"], "OBJECT_STORE_NOT_FOUND", 4],
  [["get", "sha256:abc", "-o", "out"], "DIGEST_MALFORMED", 1],
  [["put", "missing"], "FILE_NOT_FOUND", 4],
  [["put", "."], "FILE_IS_FOLDER", 1],
  [["get", UNKNOWN], "USAGE_MISSING_MANDATORY_OPTION_VALUE", 2],
])("files %j is refused with its code", async (args, code, expected) => {
  using folder = temporaryFolder();
  const { exitCode, json } = await runJson(["files", ...args], { cwd: folder.path });
  expect(json).toHaveProperty("error.code", code);
  expect(exitCode).toBe(expected);
  expect(readdirSync(folder.path)).toEqual([]);
});

test("an object that the store does not hold, and a place that no file can have", async () => {
  using folder = temporaryFolder();
  const digest = await put(folder, "content");
  for (const [wanted, output, code] of [
    [UNKNOWN, "out", "OBJECT_NOT_FOUND"],
    [digest, "x/out", "FILE_EXISTS"],
    [digest, "o".repeat(300), "FILE_NAME_TOO_LONG"],
  ] as const) {
    const { json } = await runJson(["files", "get", wanted, "-o", output], { cwd: folder.path });
    expect(json).toHaveProperty("error.code", code);
  }
});

test("an object that was changed in the store is refused, until its file is put again", async () => {
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
  expect(await put(folder, "content")).toBe(digest);
  const mended = await runJson(["files", "get", digest, "-o", "out"], { cwd: folder.path });
  expect(mended.exitCode).toBe(0);
  expect(readFileSync(folder.file("out"), "utf8")).toBe("content");
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

const STORES = ["--store", "a", "--store", "b", "--store", "c"];

/** Where a directory store keeps an object. */
function copyIn(folder: Folder, store: string, digest: string): string {
  const found = readdirSync(folder.file(store), { recursive: true, encoding: "utf8" });
  return folder.file(join(store, found.find((name) => name.endsWith(digest.slice(7))) ?? "none"));
}

async function putInThree(folder: Folder, content: string): Promise<string> {
  writeFileSync(folder.file("x"), content);
  const { exitCode, json } = await runJson(["files", "put", "x", ...STORES], { cwd: folder.path });
  expect(exitCode).toBe(0);
  return json["digest"] as string;
}

test("copies in several stores: one may be lost, another may lie and is named, and repair mends both", async () => {
  using folder = temporaryFolder();
  const run = { cwd: folder.path };
  // More than is held back before it is given out: the lie is found when half is written.
  const content = "content ".repeat(1_200_000);
  const digest = await putInThree(folder, content);
  const spoilt = copyIn(folder, "a", digest);
  rmSync(spoilt);
  writeFileSync(spoilt, content.replace("t", "T"));
  rmSync(folder.file("b"), { recursive: true });
  const got = await runCli(["files", "get", digest, "-o", "out/file", ...STORES], run);
  expect(got).toMatchObject({ exitCode: 0, stderr: expect.stringContaining("OBJECT_CORRUPT") });
  expect(got.stderr).toContain(folder.file("a"));
  expect(readFileSync(folder.file("out/file"), "utf8") === content).toBe(true);
  expect(readdirSync(folder.file("out"))).toEqual(["file"]);
  const repaired = await runJson(["files", "repair", ...STORES], run);
  expect(repaired).toMatchObject({ exitCode: 0, json: { objects: 1, failed: [], lost: [] } });
  expect((repaired.json["repaired"] as { code: string }[]).map(({ code }) => code)).toEqual([
    "OBJECT_CORRUPT",
    "OBJECT_NOT_FOUND",
  ]);
  expect(readFileSync(copyIn(folder, "a", digest), "utf8") === content).toBe(true);
  const again = await runJson(["files", "repair", ...STORES], run);
  expect(again.json).toEqual({ objects: 1, repaired: [], failed: [], lost: [] });
});

test("an object of which no store has a right copy is lost, and said to be", async () => {
  using folder = temporaryFolder();
  const digest = await putInThree(folder, "content");
  for (const store of ["a", "b", "c"]) {
    const copy = copyIn(folder, store, digest);
    rmSync(copy);
    writeFileSync(copy, "kontent");
  }
  const { exitCode, json } = await runJson(["files", "repair", ...STORES], { cwd: folder.path });
  expect([exitCode, json["lost"]]).toEqual([1, [digest]]);
  const got = await runJson(["files", "get", digest, "-o", "out", ...STORES], { cwd: folder.path });
  expect(got.json).toHaveProperty("error.code", "OBJECT_CORRUPT");
  expect(readdirSync(folder.path).some((name) => name.startsWith("out"))).toBe(false);
});

test("a download that broke off goes on with what is there", async () => {
  using folder = temporaryFolder();
  const content = "content ".repeat(100_000);
  const digest = await put(folder, content);
  writeFileSync(folder.file("out.partial"), content.slice(0, 300_000));
  const { exitCode } = await runJson(["files", "get", digest, "-o", "out"], { cwd: folder.path });
  expect(exitCode).toBe(0);
  expect(readFileSync(folder.file("out"), "utf8") === content).toBe(true);
  expect(existsSync(folder.file("out.partial"))).toBe(false);
  writeFileSync(folder.file("out.partial"), "of something else");
  const wrong = await runJson(["files", "get", digest, "-o", "out2"], { cwd: folder.path });
  expect(wrong.exitCode).toBe(0);
  const exists = await runJson(["files", "get", digest, "-o", "out"], { cwd: folder.path });
  expect(exists.json).toHaveProperty("error.code", "FILE_EXISTS");
});

test.each([
  [["repair"], "USAGE_STORES_MISSING"],
  [["repair", "--store", "a", "--store", "a"], "USAGE_STORES_MISSING"],
  [["list", "--store", "https://127.0.0.1"], "USAGE_STORE"],
  [["list", "--store", "ftp://127.0.0.1/bucket"], "USAGE_STORE"],
  [["put", "-", "--store", ""], "USAGE_STORE"],
  [["list", "--store", "https://127.0.0.1/bucket/key"], "USAGE_STORE"],
  [["list", "--store", "https://:0"], "USAGE_STORE"],
  [["list", "--store", "https://127.0.0.1/bucket"], "USAGE_STORE_KEYS_MISSING"],
])("files %j is a mistake that is named", async (args, code) => {
  using folder = temporaryFolder();
  const env = { AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "" };
  const { exitCode, json } = await runJson(["files", ...args], { cwd: folder.path, env });
  expect([exitCode, json]).toMatchObject([2, { error: { code } }]);
});

test("a bucket that cannot be reached is one fault among three stores, and with a bad disk too many", async () => {
  using folder = temporaryFolder();
  const env = { AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "secret" };
  const run = { cwd: folder.path, env };
  writeFileSync(folder.file("x"), "content");
  const bucket = ["--store", "http://127.0.0.1:9/bucket"];
  const put = await runCli(["files", "put", "x", "--store", "a", "--store", "b", ...bucket], run);
  expect(put).toMatchObject({ exitCode: 0, stderr: expect.stringContaining("127.0.0.1:9/bucket") });
  const few = await runJson(["files", "put", "x", "--store", "a", ...bucket], run);
  expect(few.json).toHaveProperty("error.code", "OBJECT_STORE_UNREACHABLE");
  expect(few.exitCode).not.toBe(0);
});

test("an empty --home is refused, an empty CLOISTER_HOME is none", async () => {
  using folder = temporaryFolder();
  const cwd = folder.path;
  const empty = await runJson(["--home", "", "files", "list"], { cwd });
  expect([empty.json["error"], empty.exitCode]).toMatchObject([{ code: "USAGE_HOME_EMPTY" }, 2]);
  await runCli(["files", "put", "-"], { cwd, stdin: "1", env: { CLOISTER_HOME: "" } });
  expect(readdirSync(folder.path)).toEqual([".cloister"]);
});
