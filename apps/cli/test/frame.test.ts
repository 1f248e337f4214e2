import { Command } from "commander";
import { expect, test } from "vitest";
import { createContext } from "../src/cli/context.ts";
import { COMMANDS } from "../src/commands.ts";
import { runCli, runJson, temporaryFolder } from "./run-cli.ts";

test("the overview names every command and fits its transcript", async () => {
  const { exitCode, stdout, stderr } = await runCli(["--help"]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  for (const { name, summary } of COMMANDS) {
    expect(stdout).toContain(`  ${name} `);
    expect(stdout.replaceAll(/\s+/g, " ")).toContain(summary);
  }
  await expect(stdout).toMatchFileSnapshot("golden/help.txt");
});

test.each(COMMANDS.map(({ name }) => name))("the help of %s fits its transcript", async (name) => {
  const { exitCode, stdout } = await runCli([name, "--help"]);
  expect(exitCode).toBe(0);
  await expect(stdout).toMatchFileSnapshot(`golden/help-${name}.txt`);
  expect((await runCli(["help", name])).stdout).toBe(stdout);
});

/** `consent draft`, `files put`, …: what the files of the table register below their command. */
async function nestedCommands(): Promise<string[]> {
  const nested: string[] = [];
  for (const { name, load } of COMMANDS) {
    const program = new Command();
    program.command(name);
    (await load()).register(program, createContext(program, {}));
    for (const below of program.commands[0]?.commands ?? []) nested.push(`${name} ${below.name()}`);
  }
  return nested;
}

test.each(await nestedCommands())("the help of %s fits its transcript", async (path) => {
  const { exitCode, stdout } = await runCli([...path.split(" "), "--help"]);
  expect(exitCode).toBe(0);
  await expect(stdout).toMatchFileSnapshot(`golden/help-${path.replaceAll(" ", "-")}.txt`);
});

test("help of a command below another is that command's own help", async () => {
  const asked = await runCli(["help", "offers", "publish"]);
  expect(asked).toEqual(await runCli(["offers", "publish", "--help"]));
  expect(asked.stdout).toContain("Usage: cloister offers publish");
});

test("the version is printed alone", async () => {
  expect(await runCli(["--version"])).toEqual({ exitCode: 0, stdout: "0.1.0\n", stderr: "" });
});

test("without a command the overview goes to stderr and the exit code says usage", async () => {
  const { exitCode, stdout, stderr } = await runCli([]);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
  expect(stderr).toContain("Usage: cloister");
});

test.each([
  [["digets"], "USAGE_UNKNOWN_COMMAND", "Did you mean digest?"],
  [["digest", "--jsn", "x"], "USAGE_UNKNOWN_OPTION", "Did you mean --json?"],
  [["digest"], "USAGE_MISSING_ARGUMENT", "cloister help digest"],
  [["digest", "a", "b"], "USAGE_EXCESS_ARGUMENTS", "cloister help digest"],
  [["keygen"], "USAGE_MISSING_MANDATORY_OPTION_VALUE", "cloister help keygen"],
  [["consent", "shwo", "x"], "USAGE_UNKNOWN_COMMAND", "Did you mean show?"],
  [
    ["help", "offers", "publsh"],
    "USAGE_UNKNOWN_COMMAND",
    "It has publish, list, show, versions, revoke, disable, enable.",
  ],
  [["help", "digest", "publish"], "USAGE_UNKNOWN_COMMAND", "It has none."],
  [["consent", "draft", "--runs", "many"], "USAGE_INVALID_ARGUMENT", "cloister help consent"],
  [["consent", "draft", "--until", "soon"], "USAGE_INVALID_ARGUMENT", "cloister help consent"],
])("%j is a usage error with a hint", async (args, code, hint) => {
  const { exitCode, stdout, stderr } = await runCli(args);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
  expect(stderr).toMatch(new RegExp(`^error ${code}: .*\\.\nhint: .*\n$`));
  expect(stderr).toContain(hint);
});

test("with --json an error is one document on stdout", async () => {
  const { exitCode, stdout, stderr } = await runCli(["digest", "missing.txt", "--json"]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 4, stderr: "" });
  expect(JSON.parse(stdout)).toEqual({
    error: {
      code: "FILE_NOT_FOUND",
      message: "There is no file missing.txt.",
      hint: "Check the path; it is read from the current folder.",
    },
  });
});

test("--json counts before the command too, and for usage errors", async () => {
  const { exitCode, json } = await runJson(["digets"]);
  expect(exitCode).toBe(2);
  expect(json).toHaveProperty("error.code", "USAGE_UNKNOWN_COMMAND");
  const before = await runCli(["--json", "digest", "missing.txt"]);
  expect(JSON.parse(before.stdout)).toHaveProperty("error.code", "FILE_NOT_FOUND");
});

test("the digest of standard input is the one sha256sum prints", async () => {
  const { exitCode, json } = await runJson(["digest", "-"], { stdin: "hello\n" });
  expect(exitCode).toBe(0);
  expect(json).toEqual({
    file: "-",
    digest: "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    sizeBytes: 6,
  });
});

test("a folder is not a file", async () => {
  using folder = temporaryFolder();
  const { exitCode, json } = await runJson(["digest", folder.path]);
  expect(exitCode).toBe(1);
  expect(json).toHaveProperty("error.code", "FILE_IS_FOLDER");
});

test("off a terminal nothing is colored and no progress is shown", async () => {
  const { stdout, stderr } = await runCli(["digest", "-"], { stdin: "x".repeat(1_000_000) });
  expect(stdout + stderr).not.toContain("\u001B");
  expect(stderr).toBe("");
});

test("a reader that leaves early ends the program without a complaint", async () => {
  const { stderr } = await runCli([], {
    command: ["sh", "-c", `"$0" "$1" --help | head -1`, process.execPath, (await import("./run-cli.ts")).bin],
  });
  expect(stderr).toBe("");
});
