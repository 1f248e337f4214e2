import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, ftruncateSync, openSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { expect, test } from "vitest";
import { bin, runJson, temporaryFolder } from "./run-cli.ts";

type Folder = ReturnType<typeof temporaryFolder>;

/** A file of zeros that takes no space and is long in the sealing. */
function makeHuge(file: string, sizeBytes: number): void {
  const handle = openSync(file, "w");
  ftruncateSync(handle, sizeBytes);
  closeSync(handle);
}

async function makeKey(folder: Folder): Promise<string> {
  const { json } = await runJson(["keygen", "-o", folder.file("own.key")]);
  return json["recipient"] as string;
}

/** Sends a signal once something is being written, and gives what ended the process. */
async function stopMidway(child: ChildProcess, folder: Folder, signal: NodeJS.Signals): Promise<unknown> {
  const ended = once(child, "exit");
  const isWriting = (): boolean =>
    readdirSync(folder.path).some(
      (name) => name.endsWith(".partial") && statSync(folder.file(name)).size > 0,
    );
  while (child.exitCode === null && !isWriting()) await wait(5);
  child.kill(signal);
  const [code, by] = (await ended) as [number | null, string | null];
  return by ?? code;
}

test.each(["SIGINT", "SIGTERM"] as const)(
  "%s in the middle of sealing leaves nothing behind",
  async (signal) => {
    using folder = temporaryFolder();
    const recipient = await makeKey(folder);
    makeHuge(folder.file("huge"), 4 * 1024 ** 3);
    const before = readdirSync(folder.path).toSorted();
    const args = [bin, "seal", "huge", "--to", recipient];
    const child = spawn(process.execPath, args, { cwd: folder.path, stdio: "ignore" });
    expect(await stopMidway(child, folder, signal)).toBe(signal);
    expect(readdirSync(folder.path).toSorted()).toEqual(before);
  },
);

test("a process that is killed leaves no file under its name, and the next one writes it", async () => {
  using folder = temporaryFolder();
  const recipient = await makeKey(folder);
  makeHuge(folder.file("huge"), 4 * 1024 ** 3);
  const args = [bin, "seal", "huge", "--to", recipient, "-o", "out.age"];
  const child = spawn(process.execPath, args, { cwd: folder.path, stdio: "ignore" });
  expect(await stopMidway(child, folder, "SIGKILL")).toBe("SIGKILL");
  const [left, ...rest] = readdirSync(folder.path).filter((name) => name.includes("out.age"));
  expect([left, rest]).toEqual([expect.stringMatching(/^\.out\.age\..*\.partial$/), []]);
  makeHuge(folder.file("huge"), 1000);
  const again = await runJson(["seal", "huge", "--to", recipient, "-o", "out.age"], { cwd: folder.path });
  expect(again).toMatchObject({ exitCode: 0, json: { contentBytes: 1000 } });
});

test("nor does it while standard input gives nothing more", async () => {
  using folder = temporaryFolder();
  const recipient = await makeKey(folder);
  const args = [bin, "seal", "-", "--to", recipient, "-o", "out.age"];
  const child = spawn(process.execPath, args, { cwd: folder.path, stdio: ["pipe", "ignore", "ignore"] });
  child.stdin?.on("error", () => undefined);
  child.stdin?.write(new Uint8Array(300_000));
  expect(await stopMidway(child, folder, "SIGTERM")).toBe("SIGTERM");
  expect(readdirSync(folder.path)).toEqual(["own.key"]);
});

test("a document that never ends is refused, and a key file that is none is named", async () => {
  using folder = temporaryFolder();
  const recipient = await makeKey(folder);
  const endless = await runJson(["verify", "/dev/zero"]);
  expect(endless.json).toHaveProperty("error.code", "FILE_TOO_LARGE");
  writeFileSync(folder.file("bytes"), new Uint8Array([0xff, 0xfe, 0xff]));
  await runJson(["seal", "bytes", "--to", recipient], { cwd: folder.path });
  for (const args of [
    ["open", "bytes.age", "-i", "bytes", "-o", "x"],
    ["seal", "own.key", "-R", "bytes", "-o", "x"],
  ]) {
    const { json, exitCode } = await runJson(args, { cwd: folder.path });
    expect(json).toHaveProperty("error.code", "KEY_FILE_NOT_TEXT");
    expect(exitCode).toBe(1);
  }
});
