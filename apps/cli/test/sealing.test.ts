import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { expect, test } from "vitest";
import { bin, runCli, runJson, smallDisk, temporaryFolder } from "./run-cli.ts";

const hasAge = spawnSync("age", ["--version"]).status === 0;

type Folder = ReturnType<typeof temporaryFolder>;

async function makeKey(folder: Folder, name = "own.key", ...more: string[]): Promise<string> {
  const { exitCode, json } = await runJson(["keygen", "-o", folder.file(name), ...more]);
  expect(exitCode).toBe(0);
  return json["recipient"] as string;
}

/** A folder with a key and `table.csv` sealed to it. */
async function sealedTable(folder: Folder, content = "a,b\n1,2\n"): Promise<Record<string, unknown>> {
  const recipient = await makeKey(folder);
  writeFileSync(folder.file("table.csv"), content);
  const { exitCode, json } = await runJson(["seal", folder.file("table.csv"), "--to", recipient]);
  expect(exitCode).toBe(0);
  return json;
}

test("what was sealed opens again, and both digests are those of the files", async () => {
  using folder = temporaryFolder();
  const sealed = await sealedTable(folder);
  const digestOfFile = async (name: string): Promise<unknown> =>
    (await runJson(["digest", folder.file(name)])).json["digest"];
  expect(sealed["contentDigest"]).toBe(await digestOfFile("table.csv"));
  expect(sealed["sealedDigest"]).toBe(await digestOfFile("table.csv.age"));
  const args = ["open", folder.file("table.csv.age"), "-i", folder.file("own.key")];
  expect((await runCli([...args, "-o", "-"])).stdout).toBe("a,b\n1,2\n");
  const { json } = await runJson([...args, "-o", folder.file("again.csv")]);
  expect(json["contentDigest"]).toBe(sealed["contentDigest"]);
  expect(readFileSync(folder.file("again.csv"), "utf8")).toBe("a,b\n1,2\n");
});

test("sealing and opening work through pipes", async () => {
  using folder = temporaryFolder();
  const recipient = await makeKey(folder);
  const sealed = await runCli(["seal", "-", "--to", recipient, "-o", folder.file("x.age")], {
    stdin: "from a pipe",
  });
  expect(sealed.exitCode).toBe(0);
  const opened = await runCli(["open", "-", "-i", folder.file("own.key")], {
    stdin: readFileSync(folder.file("x.age")),
  });
  expect(opened).toEqual({ exitCode: 0, stdout: "from a pipe", stderr: "" });
});

test("an identity is readable by its owner alone and is never replaced by accident", async () => {
  using folder = temporaryFolder();
  await makeKey(folder);
  expect(statSync(folder.file("own.key")).mode & 0o777).toBe(0o600);
  const before = readFileSync(folder.file("own.key"), "utf8");
  const { exitCode, json } = await runJson(["keygen", "-o", folder.file("own.key")]);
  expect(exitCode).toBe(1);
  expect(json).toHaveProperty("error.code", "FILE_EXISTS");
  expect(readFileSync(folder.file("own.key"), "utf8")).toBe(before);
  await makeKey(folder, "own.key", "--force");
  expect(readFileSync(folder.file("own.key"), "utf8")).not.toBe(before);
});

test("a passphrase protects an identity, and a wrong one is refused", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("right"), "correct horse\n");
  writeFileSync(folder.file("wrong"), "battery staple\n");
  const recipient = await makeKey(folder, "own.key", "--passphrase-file", folder.file("right"));
  expect(readFileSync(folder.file("own.key"), "latin1")).toMatch(/^age-encryption\.org\/v1\n-> scrypt /);
  await runCli(["seal", "-", "--to", recipient, "-o", folder.file("x.age")], { stdin: "secret" });
  const args = ["open", folder.file("x.age"), "-i", folder.file("own.key"), "-o", "-"];
  const opened = await runCli([...args, "--passphrase-file", folder.file("right")]);
  expect(opened.stdout).toBe("secret");
  const refused = await runCli([...args, "--passphrase-file", folder.file("wrong")]);
  expect(refused).toMatchObject({ exitCode: 1, stdout: "" });
  expect(refused.stderr).toContain("error SEALED_PASSPHRASE_WRONG");
  const asked = await runCli(args);
  expect(asked.exitCode).toBe(2);
  expect(asked.stderr).toContain("error USAGE_PASSPHRASE_MISSING");
});

test("an identity that age wrote as protected text opens like one in bytes", async () => {
  using folder = temporaryFolder();
  await sealedTable(folder);
  writeFileSync(folder.file("pass"), "correct horse");
  const pass = ["--passphrase-file", "pass"];
  const run = { cwd: folder.path };
  expect((await runCli(["seal", "own.key", "-a", "-o", "text.key", ...pass], run)).exitCode).toBe(0);
  const opened = await runCli(["open", "table.csv.age", "-i", "text.key", "-o", "-", ...pass], run);
  expect(opened).toMatchObject({ exitCode: 0, stdout: "a,b\n1,2\n" });
});

test("a passphrase file that is not text is named", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("pass"), new Uint8Array([0xff, 0xfe]));
  const { exitCode, json } = await runJson(["seal", "-", "--passphrase-file", "pass"], { cwd: folder.path });
  expect(json).toMatchObject({ error: { code: "FILE_NOT_TEXT", message: "pass is not a text file." } });
  expect(exitCode).toBe(1);
});

test("a file sealed with a passphrase opens with it", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("pass"), "correct horse");
  writeFileSync(folder.file("x"), "content");
  const pass = ["--passphrase-file", folder.file("pass")];
  expect((await runCli(["seal", folder.file("x"), ...pass])).exitCode).toBe(0);
  expect((await runCli(["open", folder.file("x.age"), ...pass, "-o", "-"])).stdout).toBe("content");
});

test("an empty passphrase is none", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("pass"), "\nsecond line");
  const { exitCode, json } = await runJson([
    "keygen",
    "-o",
    folder.file("k"),
    "--passphrase-file",
    folder.file("pass"),
  ]);
  expect(exitCode).toBe(1);
  expect(json).toHaveProperty("error.code", "PASSPHRASE_EMPTY");
});

test.skipIf(!hasAge)("stock age opens what we seal, and we open what it seals (needs age)", async () => {
  using folder = temporaryFolder();
  const recipient = await makeKey(folder);
  writeFileSync(folder.file("x"), "across tools");
  await runCli(["seal", folder.file("x"), "--to", recipient]);
  const opened = execFileSync("age", ["-d", "-i", folder.file("own.key"), folder.file("x.age")], {
    encoding: "utf8",
  });
  expect(opened).toBe("across tools");
  execFileSync("age", ["-r", recipient, "-o", folder.file("y.age"), folder.file("x")]);
  const ours = await runCli(["open", folder.file("y.age"), "-i", folder.file("own.key"), "-o", "-"]);
  expect(ours.stdout).toBe("across tools");
});

test("a hybrid key opens what was sealed to it", async () => {
  using folder = temporaryFolder();
  const recipient = await makeKey(folder, "own.key", "--post-quantum");
  expect(recipient).toMatch(/^age1pq1/);
  writeFileSync(folder.file("x"), "for decades");
  expect((await runCli(["seal", folder.file("x"), "--to", recipient])).exitCode).toBe(0);
  const opened = await runCli(["open", folder.file("x.age"), "-i", folder.file("own.key"), "-o", "-"]);
  expect(opened.stdout).toBe("for decades");
});

test("an armored file is text and opens like any other", async () => {
  using folder = temporaryFolder();
  const recipient = await makeKey(folder);
  const sealed = await runCli(["seal", "-", "--to", recipient, "-a", "-o", "-"], { stdin: "by mail" });
  expect(sealed.stdout).toMatch(/^-----BEGIN AGE ENCRYPTED FILE-----\n/);
  const opened = await runCli(["open", "-", "-i", folder.file("own.key")], { stdin: sealed.stdout });
  expect(opened.stdout).toBe("by mail");
});

const OWNER = `0x${"ab".repeat(20)}`;

test("a file for the key-release group names its owner in the header", async () => {
  using folder = temporaryFolder();
  const group = await makeKey(folder, "group.key");
  writeFileSync(folder.file("x"), "for a job");
  const { json } = await runJson(["seal", folder.file("x"), "--owner", OWNER, "--group", group]);
  expect(json["recipients"]).toEqual([group]);
  const header = readFileSync(folder.file("x.age"), "latin1").split("\n---")[0];
  expect(header).toMatch(/^-> cloister\S* .*abab/im);
});

test.each([
  [["--owner", OWNER], "NETWORK_MISSING", 3],
  [["--owner", "0x12"], "ADDRESS_MALFORMED", 1],
  [["--group", "age1x"], "USAGE_OWNER_MISSING", 2],
])("sealing for a job with %j is refused with its code", async (args, code, expected) => {
  using folder = temporaryFolder();
  const { exitCode, json } = await runJson(["seal", "-", ...args], { cwd: folder.path });
  expect(json).toHaveProperty("error.code", code);
  expect(exitCode).toBe(expected);
});

test("a file sealed to somebody else is refused and nothing is written", async () => {
  using folder = temporaryFolder();
  await sealedTable(folder);
  await makeKey(folder, "other.key");
  const args = [
    "open",
    folder.file("table.csv.age"),
    "-i",
    folder.file("other.key"),
    "-o",
    folder.file("out"),
  ];
  const { exitCode, json } = await runJson(args);
  expect(exitCode).toBe(1);
  expect(json).toHaveProperty("error.code", "SEALED_NO_IDENTITY_MATCHES");
  expect(readdirSync(folder.path)).not.toContain("out");
});

test("a changed byte at the end of a large file leaves nothing of it behind", async () => {
  using folder = temporaryFolder();
  await sealedTable(folder, "x".repeat(300_000));
  const bytes = readFileSync(folder.file("table.csv.age"));
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
  writeFileSync(folder.file("changed.age"), bytes);
  mkdirSync(folder.file("into"));
  const args = [
    "open",
    folder.file("changed.age"),
    "-i",
    folder.file("own.key"),
    "-o",
    folder.file("into/out"),
  ];
  const { exitCode, json } = await runJson(args);
  expect(exitCode).toBe(1);
  expect(json).toHaveProperty("error.code", "SEALED_CHUNK_FORGED");
  expect(readdirSync(folder.file("into"))).toEqual([]);
});

test.each([
  ["open", "not an age file", "SEALED_NOT_AGE"],
  ["open", "", "SEALED_TRUNCATED"],
  ["open", "age-encryption.org/v1\n-> X25519 x\n", "SEALED_TRUNCATED"],
])("%s refuses the file %j", async (command, content, code) => {
  using folder = temporaryFolder();
  await makeKey(folder);
  writeFileSync(folder.file("bad.age"), content);
  const { exitCode, json } = await runJson([command, folder.file("bad.age"), "-i", folder.file("own.key")]);
  expect(exitCode).toBe(1);
  expect(json).toHaveProperty("error.code", code);
});

test.each([
  [["seal", "-"], "USAGE_RECIPIENT_MISSING", 2],
  [["seal", "-", "--to", "age1nonsense"], "SEALED_RECIPIENT_MALFORMED", 1],
  [["seal", "missing", "--to", "age1nonsense"], "SEALED_RECIPIENT_MALFORMED", 1],
  [["seal", "-", "-R", "missing"], "FILE_NOT_FOUND", 4],
  [["seal", "-", "--to", "age1nonsense", "-p"], "SEALED_RECIPIENT_MALFORMED", 1],
  [["seal", "-", "-p"], "USAGE_PASSPHRASE_MISSING", 2],
  [["open", "missing.age"], "FILE_NOT_FOUND", 4],
  [["open", "no-suffix"], "USAGE_OUTPUT_MISSING", 2],
])("%j is refused with its code", async (args, code, expected) => {
  using folder = temporaryFolder();
  const { exitCode, json } = await runJson(args, { cwd: folder.path });
  expect(json).toHaveProperty("error.code", code);
  expect(exitCode).toBe(expected);
});

test("opening without an identity asks for one", async () => {
  using folder = temporaryFolder();
  await sealedTable(folder);
  const { exitCode, json } = await runJson(["open", folder.file("table.csv.age"), "-o", folder.file("out")]);
  expect(exitCode).toBe(2);
  expect(json).toHaveProperty("error.code", "USAGE_IDENTITY_MISSING");
});

test("an identity file that is none is refused by its line", async () => {
  using folder = temporaryFolder();
  await sealedTable(folder);
  writeFileSync(folder.file("bad.key"), "# created: now\nAGE-SECRET-KEY-1QQQ\n");
  const args = ["open", folder.file("table.csv.age"), "-i", folder.file("bad.key"), "-o", "-"];
  const { exitCode, json } = await runJson(args);
  expect(exitCode).toBe(1);
  expect(json).toHaveProperty("error.code", "SEALED_IDENTITY_MALFORMED");
});

test("a recipient and a passphrase exclude each other", async () => {
  using folder = temporaryFolder();
  const recipient = await makeKey(folder);
  const { exitCode, json } = await runJson(["seal", "-", "--to", recipient, "-p"]);
  expect(exitCode).toBe(2);
  expect(json).toHaveProperty("error.code", "USAGE_CONFLICT");
});

test("a folder is packed, sealed, and unpacked again; a link in it is refused", async () => {
  using folder = temporaryFolder();
  const recipient = await makeKey(folder);
  mkdirSync(folder.file("scans/deep"), { recursive: true });
  writeFileSync(folder.file("scans/deep/a"), "a");
  writeFileSync(folder.file("scans/b"), "b".repeat(100_000));
  const sealed = await runJson(["seal", "scans", "--to", recipient], { cwd: folder.path });
  expect(sealed).toMatchObject({ exitCode: 0, json: { file: "scans.tar.age" } });
  const open = ["open", "scans.tar.age", "-i", "own.key"];
  const opened = await runJson([...open, "--unpack", "back"], { cwd: folder.path });
  expect(opened).toMatchObject({ exitCode: 0, json: { contentDigest: sealed.json["contentDigest"] } });
  expect(readFileSync(folder.file("back/deep/a"), "utf8")).toBe("a");
  expect(statSync(folder.file("back/b")).size).toBe(100_000);
  const again = await runJson([...open, "--unpack", "back"], { cwd: folder.path });
  expect(again.json).toHaveProperty("error.code", "FILE_EXISTS");
  const both = await runJson([...open, "--unpack", "x", "-o", "y"], { cwd: folder.path });
  expect(both.json).toHaveProperty("error.code", "USAGE_CONFLICT");
  symlinkSync("/etc/passwd", folder.file("scans/link"));
  const linked = await runJson(["seal", "scans", "--to", recipient, "-f"], { cwd: folder.path });
  expect(linked.json).toHaveProperty("error.code", "TAR_TYPE_NOT_ALLOWED");
  expect(readdirSync(folder.path).toSorted()).toEqual(["back", "own.key", "scans", "scans.tar.age"]);
});

test("nothing is written over what is read, or into the folder that is read", async () => {
  using folder = temporaryFolder();
  const recipient = await makeKey(folder);
  mkdirSync(folder.file("scans"));
  writeFileSync(folder.file("scans/a"), "a");
  symlinkSync("scans/a", folder.file("link"));
  const run = { cwd: folder.path };
  await runJson(["seal", "scans/a", "--to", recipient, "-o", "a.age"], run);
  const seal = ["seal", "--to", recipient, "-f"];
  for (const args of [
    [...seal, "scans", "-o", "scans/out.age"],
    [...seal, "scans/a", "-o", "scans/a"],
    [...seal, "scans/a", "-o", "link"],
    [...seal, "link", "-o", "./scans/../scans/a"],
    ["open", "a.age", "-i", "own.key", "-o", "a.age", "-f"],
  ]) {
    const { exitCode, json } = await runJson(args, run);
    expect([exitCode, json]).toMatchObject([1, { error: { code: "OUTPUT_IN_INPUT" } }]);
  }
  expect(readFileSync(folder.file("scans/a"), "utf8")).toBe("a");
  expect(readdirSync(folder.file("scans"))).toEqual(["a"]);
  const beside = await runJson([...seal, "scans", "-o", "scans.out"], run);
  expect(beside.exitCode).toBe(0);
});

test("a file that is no archive is not unpacked, and leaves nothing", async () => {
  using folder = temporaryFolder();
  await sealedTable(folder, "x".repeat(2_000));
  const open = ["open", "table.csv.age", "-i", "own.key", "--unpack", "out"];
  const { exitCode, json } = await runJson(open, { cwd: folder.path });
  expect(exitCode).toBe(1);
  expect((json["error"] as { code: string }).code).toMatch(/^TAR_/);
  expect(readdirSync(folder.path).some((name) => name === "out" || name.endsWith(".partial"))).toBe(false);
});

test("a large file goes past the streams in two threads, with the same digests", async () => {
  using folder = temporaryFolder();
  const recipient = await makeKey(folder);
  const content = Buffer.alloc(40 << 20, "large");
  writeFileSync(folder.file("large"), content);
  const run = { cwd: folder.path };
  const sealed = await runJson(["seal", "large", "--to", recipient], run);
  expect(sealed).toMatchObject({ exitCode: 0, json: { contentBytes: content.length } });
  const { json } = await runJson(["digest", "large.age"], run);
  expect(sealed.json["sealedDigest"]).toBe(json["digest"]);
  expect(statSync(folder.file("large.age")).mode & 0o777 & ~0o022).toBe(0o644 & ~0o022);
  const opened = await runJson(["open", "large.age", "-i", "own.key", "-o", "back"], run);
  expect(opened.json["contentDigest"]).toBe(sealed.json["contentDigest"]);
  expect(statSync(folder.file("back")).mode & 0o777).toBe(0o600);
  expect(readFileSync(folder.file("back")).equals(content)).toBe(true);
});

test("a full device is named, with exit code 3", async () => {
  using folder = temporaryFolder();
  await sealedTable(folder, "x".repeat(300_000));
  const args = ["open", folder.file("table.csv.age"), "-i", folder.file("own.key"), "-o", "/dev/full"];
  const { exitCode, json } = await runJson(args);
  expect(exitCode).toBe(3);
  expect(json).toMatchObject({
    error: { code: "DISK_FULL", message: "The disk is full: /dev/full was not written." },
  });
});

test("a full disk leaves no half file (needs the right to mount a small disk)", async (context) => {
  using folder = temporaryFolder();
  const recipient = (await sealedTable(folder, "x".repeat(300_000)))["recipients"] as string[];
  mkdirSync(folder.file("disk"));
  using disk = smallDisk(folder.file("disk"));
  context.skip(disk === undefined, "this user may not mount a tmpfs");
  const open = ["open", folder.file("table.csv.age"), "-i", folder.file("own.key")];
  const seal = ["seal", folder.file("table.csv"), "--to", recipient[0] ?? ""];
  for (const args of [open, seal]) {
    const { exitCode, json } = await runJson([...args, "-o", folder.file("disk/out")]);
    expect(exitCode).toBe(3);
    expect(json).toHaveProperty("error.code", "DISK_FULL");
    expect(readdirSync(folder.file("disk"))).toEqual([]);
  }
});

/** Permissions do not bind root: then the program runs as nobody. */
const asOrdinaryUser =
  process.getuid?.() === 0
    ? (["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", process.execPath, bin] as const)
    : undefined;
const canBeOrdinary = asOrdinaryUser === undefined || spawnSync("setpriv", ["--version"]).status === 0;

test.skipIf(!canBeOrdinary)("a file that may not be read is named (root needs setpriv for it)", async () => {
  using folder = temporaryFolder();
  chmodSync(folder.path, 0o755);
  writeFileSync(folder.file("x"), "x", { mode: 0o000 });
  const run = asOrdinaryUser === undefined ? {} : { command: asOrdinaryUser };
  const { exitCode, json } = await runJson(["digest", folder.file("x")], run);
  expect(exitCode).toBe(3);
  expect(json).toHaveProperty("error.code", "FILE_FORBIDDEN");
});
