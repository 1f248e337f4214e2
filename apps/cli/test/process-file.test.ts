import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { endLeftover } from "../src/network/anvil.ts";
import { keepCopy, mendState } from "../src/network/chain-state.ts";
import { claimProcessFile, noteProcess, runningProcess } from "../src/network/process-file.ts";
import { runJson, temporaryFolder } from "./run-cli.ts";

/** A process that has nothing to do with any network. */
let bystander: ChildProcess;
let pid: number;
beforeEach(() => {
  bystander = spawn(process.execPath, ["--eval", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
  pid = bystander.pid as number;
});
afterEach(async () => {
  if (bystander.exitCode !== null || bystander.signalCode !== null) return;
  bystander.kill("SIGKILL");
  await once(bystander, "exit");
});
const runs = (): boolean => bystander.exitCode === null && bystander.signalCode === null;

/** What a file says of a process whose number the bystander was given since. */
function noteOfEarlier(file: string): void {
  noteProcess(file, pid);
  const note = JSON.parse(readFileSync(file, "utf8")) as { began: string };
  writeFileSync(file, JSON.stringify({ ...note, began: note.began.replace(/\d+$/, "1") }));
}

describe("a file that names a process", () => {
  test("finds it while it runs, and nobody afterwards", async () => {
    using folder = temporaryFolder();
    const file = folder.file("pid");
    expect(runningProcess(file)).toBeUndefined();
    noteProcess(file, pid);
    const found = runningProcess(file);
    expect([found?.pid, found?.runs()]).toEqual([pid, true]);
    bystander.kill("SIGKILL");
    await once(bystander, "exit");
    expect([found?.runs(), runningProcess(file)]).toEqual([false, undefined]);
  });

  test("does not find another process that has its number", () => {
    using folder = temporaryFolder();
    noteOfEarlier(folder.file("pid"));
    expect(runningProcess(folder.file("pid"))).toBeUndefined();
  });

  test.each(["", "{", "null", "[]", '{"pid":"1"}', '{"pid":-1}', "-1", "0", "1e99", "x".repeat(100)])(
    "that says %j names nobody",
    (text) => {
      using folder = temporaryFolder();
      writeFileSync(folder.file("pid"), text);
      expect(runningProcess(folder.file("pid"))).toBeUndefined();
      expect(claimProcessFile(folder.file("pid"))).toBeUndefined();
      expect(runningProcess(folder.file("pid"))?.pid).toBe(process.pid);
      expect(readdirSync(folder.path)).toEqual(["pid"]);
    },
  );

  test("of an earlier version, a bare number, is still read", () => {
    using folder = temporaryFolder();
    writeFileSync(folder.file("pid"), String(pid));
    expect([runningProcess(folder.file("pid"))?.pid, claimProcessFile(folder.file("pid"))]).toEqual([
      pid,
      pid,
    ]);
  });

  test("is claimed from whoever ended, and not from whoever runs", () => {
    using folder = temporaryFolder();
    const file = folder.file("pid");
    noteProcess(file, pid);
    expect(claimProcessFile(file)).toBe(pid);
    noteOfEarlier(file);
    expect(claimProcessFile(file)).toBeUndefined();
    expect(claimProcessFile(file)).toBeUndefined();
    expect(runningProcess(file)?.pid).toBe(process.pid);
  });
});

describe("after a crash whose process numbers were given to others", () => {
  test("`cloister down` ends none of them", async () => {
    using folder = temporaryFolder();
    mkdirSync(folder.file(".cloister"));
    noteOfEarlier(folder.file(".cloister/up.pid"));
    const { json, exitCode } = await runJson(["down"], { cwd: folder.path });
    expect([json["error"], exitCode]).toMatchObject([{ code: "NETWORK_NOT_RUNNING" }, 1]);
    expect(runs()).toBe(true);
  });

  test("`cloister up` does not start a second network beside one that runs, and says which process it is", async () => {
    using folder = temporaryFolder();
    mkdirSync(folder.file(".cloister"));
    noteProcess(folder.file(".cloister/up.pid"), pid);
    for (const args of [["up"], ["up", "--detach"]]) {
      const { json, exitCode } = await runJson(args, { cwd: folder.path });
      expect([json["error"], exitCode]).toMatchObject([{ code: "NETWORK_RUNNING" }, 1]);
      expect(JSON.stringify(json)).toContain(String(pid));
    }
    expect(readdirSync(folder.path)).toEqual([".cloister"]);
    expect(runningProcess(folder.file(".cloister/up.pid"))?.pid).toBe(pid);
  });

  test("nor does the chain's next start; a chain that was left over ends", async () => {
    using folder = temporaryFolder();
    noteOfEarlier(folder.file("pid"));
    await endLeftover(folder.file("pid"));
    expect(runs()).toBe(true);
    noteProcess(folder.file("pid"), pid);
    await endLeftover(folder.file("pid"));
    expect(runningProcess(folder.file("pid"))).toBeUndefined();
  });
});

describe("a chain's state that was torn by a crash", () => {
  test.each(["", '{"block": {', "\0\0\0\0"])("is replaced by the last whole copy: %j", (torn) => {
    using folder = temporaryFolder();
    const file = folder.file("state");
    expect(mendState(file)).toBe("whole");
    writeFileSync(file, '{"block":1}');
    keepCopy(file);
    writeFileSync(file, torn);
    keepCopy(file);
    expect([mendState(file), readFileSync(file, "utf8"), mendState(file)]).toEqual([
      "restored",
      '{"block":1}',
      "whole",
    ]);
  });

  test("is put aside where there is no copy, so that a chain can start", () => {
    using folder = temporaryFolder();
    const file = folder.file("state");
    writeFileSync(file, "{");
    expect([mendState(file), existsSync(file), readdirSync(folder.path)]).toEqual([
      "lost",
      false,
      ["state.torn"],
    ]);
    expect(mendState(file)).toBe("whole");
  });
});
