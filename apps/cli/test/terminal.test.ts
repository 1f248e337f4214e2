import { spawn, spawnSync } from "node:child_process";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { bin, runCli, temporaryFolder } from "./run-cli.ts";

const hasScript = spawnSync("script", ["--version"]).status === 0;

interface Session {
  readonly exitCode: number | null;
  /** Everything the terminal showed, control sequences included. */
  readonly screen: string;
}

/** `script` sometimes misses that the program has ended; a session that hangs is begun again. */
const SESSION_MS = 15_000;
const SESSIONS_MAX = 3;

/** Runs the program in a terminal of 80 columns; each answer is typed once its prompt has appeared. */
async function inTerminal(
  cwd: string,
  args: readonly string[],
  answers: readonly { prompt: string; typed: string }[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Session> {
  for (let tries = 1; ; tries++) {
    const session = await oneSession(cwd, args, answers, env);
    if (session.exitCode !== null || tries === SESSIONS_MAX) return session;
  }
}

function oneSession(
  cwd: string,
  args: readonly string[],
  answers: readonly { prompt: string; typed: string }[],
  env: Readonly<Record<string, string>>,
): Promise<Session> {
  const quoted = [process.execPath, bin, ...args].map((word) => `'${word}'`).join(" ");
  const child = spawn("script", ["-qec", `stty cols 80 rows 24; ${quoted}`, "/dev/null"], {
    cwd,
    env: { ...process.env, TERM: "xterm", NO_COLOR: "", ...env },
  });
  const waiting = [...answers];
  let screen = "";
  let answeredAt = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    screen += chunk.toString();
    const next = waiting[0];
    if (next === undefined || !screen.slice(answeredAt).includes(next.prompt)) return;
    waiting.shift();
    answeredAt = screen.length;
    child.stdin.write(`${next.typed}\r`);
  });
  return new Promise((resolve) => {
    const hung = setTimeout(() => child.kill("SIGKILL"), SESSION_MS);
    child.on("close", (exitCode) => {
      clearTimeout(hung);
      resolve({ exitCode, screen });
    });
  });
}

test.skipIf(!hasScript)("on a terminal long work shows a bar and takes it back (needs script)", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("big"), "");
  truncateSync(folder.file("big"), 300_000_000);
  const { exitCode, screen } = await inTerminal(folder.path, ["digest", "big"]);
  expect(exitCode).toBe(0);
  expect(screen).toMatch(/█+░* \d+ % of 286\.1 MiB/);
  expect(screen.replaceAll(/[^]*\r\u001B\[2K/g, "")).toMatch(/^sha256:[0-9a-f]{64} {2}big {2}286\.1 MiB\r\n/);
});

test.skipIf(!hasScript)("--quiet and --json show no bar on a terminal either (needs script)", async () => {
  using folder = temporaryFolder();
  writeFileSync(folder.file("big"), "");
  truncateSync(folder.file("big"), 300_000_000);
  for (const flag of ["--quiet", "--json"]) {
    const { screen } = await inTerminal(folder.path, ["digest", "big", flag]);
    expect(screen).not.toContain("\u001B");
  }
});

test.skipIf(!hasScript)(
  "errors are colored on a terminal, and not with NO_COLOR (needs script)",
  async () => {
    using folder = temporaryFolder();
    const colored = await inTerminal(folder.path, ["digest", "missing"]);
    expect(colored).toMatchObject({
      exitCode: 4,
      screen: expect.stringContaining("\u001B[31merror") as string,
    });
    for (const plain of [
      await inTerminal(folder.path, ["digest", "missing"], [], { NO_COLOR: "1" }),
      await inTerminal(folder.path, ["digest", "missing", "--no-color"]),
    ]) {
      expect(plain.screen).toContain("error FILE_NOT_FOUND: There is no file missing.");
      expect(plain.screen).not.toContain("\u001B");
    }
  },
);

const PROMPT = "Passphrase for the new identity";
const AGAIN = "The same once more";

test.skipIf(!hasScript)("a passphrase is asked for twice and never shown (needs script)", async () => {
  using folder = temporaryFolder();
  const { exitCode, screen } = await inTerminal(
    folder.path,
    ["keygen", "-p", "-o", "own.key"],
    [
      { prompt: PROMPT, typed: "correct horse" },
      { prompt: AGAIN, typed: "correct horse" },
    ],
  );
  expect(exitCode).toBe(0);
  expect(screen).not.toContain("correct horse");
  const recipient = /age1[0-9a-z]+/.exec(screen)?.[0] ?? "";
  writeFileSync(folder.file("pass"), "correct horse");
  await runCli(["seal", "-", "--to", recipient, "-o", folder.file("x.age")], { stdin: "secret" });
  const args = ["open", "x.age", "-i", "own.key", "-o", "-", "--passphrase-file", "pass"];
  expect((await runCli(args, { cwd: folder.path })).stdout).toBe("secret");
  expect(readFileSync(folder.file("own.key"), "latin1")).toContain("scrypt");
});

test.skipIf(!hasScript)(
  "two different passphrases are refused and nothing is written (needs script)",
  async () => {
    using folder = temporaryFolder();
    const { exitCode, screen } = await inTerminal(
      folder.path,
      ["keygen", "-p", "-o", "own.key"],
      [
        { prompt: PROMPT, typed: "correct horse" },
        { prompt: AGAIN, typed: "battery staple" },
      ],
    );
    expect(exitCode).toBe(1);
    expect(screen).toContain("PASSPHRASE_DIFFERS");
    expect(() => readFileSync(folder.file("own.key"))).toThrow(/ENOENT/);
  },
);

test.skipIf(!hasScript)("an interrupted prompt is a refusal, not a crash (needs script)", async () => {
  using folder = temporaryFolder();
  const { exitCode, screen } = await inTerminal(
    folder.path,
    ["keygen", "-p", "-o", "own.key"],
    [{ prompt: PROMPT, typed: "\u0003" }],
  );
  expect(exitCode).toBe(1);
  expect(screen).toContain("PASSPHRASE_CANCELED");
});
