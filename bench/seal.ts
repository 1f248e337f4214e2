/**
 * Sealing and opening a file, against age, rclone crypt, restic and the floor: copying the file and running the same
 * OpenSSL primitives over the same number of bytes. CPU seconds of whole process trees, interleaved, medians of ratios.
 *
 * What is compared: `seal` encrypts, digests the sealed file (what a store names it by) and writes; `open` reads,
 * verifies every chunk's tag and decrypts, as age does. Further contenders leave the digest out (`bare`), take both
 * digests that an offer needs (`both`), or use two threads.
 *
 *   node bench/seal.ts [--size-mib 1024] [--rounds 3] [--json]
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readFlags, wholeNumber } from "@cloister/tools/flags";
import { atLeast, atMost, printReport, type GoalOutcome } from "@cloister/tools/report";

const MIB = 1 << 20;

interface Cost {
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  readonly residentMib: number;
}

/** One thing to measure: `prepare` is not counted. */
interface Contender {
  readonly name: string;
  readonly prepare?: () => void;
  readonly command: readonly string[];
  readonly environment?: Record<string, string>;
}

const flags = readFlags("node bench/seal.ts [--size-mib 1024] [--rounds 3] [--json]", {
  "size-mib": { type: "string", default: "1024" },
  rounds: { type: "string", default: "3" },
  json: { type: "boolean", default: false },
});
const sizeMib = wholeNumber("size-mib", flags["size-mib"], 1);
const roundCount = wholeNumber("rounds", flags.rounds, 1);
const CHILD = join(import.meta.dirname, "seal-child.ts");

function main(): void {
  const folder = mkdtempSync(join(tmpdir(), "cloister-bench-"));
  try {
    writeRandomFile(join(folder, "plain"), sizeMib * MIB);
    const contenders = [...ours(folder), ...floor(folder), ...peers(folder)];
    const rounds = Array.from({ length: roundCount }, (_, round) => runRound(contenders, round));
    checkResult(folder);
    const resident = memory(folder);
    printReport(
      { name: "seal", figures: figuresOf(rounds, resident), goals: goalsOf(rounds, resident) },
      flags.json,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Every contender once, in an order that turns with the round so that none always follows the same one. */
function runRound(contenders: readonly Contender[], round: number): Map<string, Cost> {
  const costs = new Map<string, Cost>();
  const sealing = contenders.filter(({ name }) => !name.startsWith("open "));
  const opening = contenders.filter(({ name }) => name.startsWith("open "));
  for (const list of [sealing, opening]) {
    for (const contender of [...list.slice(round % list.length), ...list.slice(0, round % list.length)]) {
      contender.prepare?.();
      const cost = measure(contender);
      costs.set(contender.name, cost);
      say(
        `${contender.name.padEnd(22)} ${cost.cpuSeconds.toFixed(2)} CPU s, ${cost.wallSeconds.toFixed(2)} s`,
      );
    }
  }
  return costs;
}

/** What our process does, as its first argument says it. */
const JOBS = [
  "seal",
  "seal bare",
  "seal both",
  "seal 2 threads",
  "seal both 2 threads",
  "open",
  "open digest",
  "open both",
  "open 2 threads",
  "open digest 2 threads",
];

function ours(folder: string): Contender[] {
  return JOBS.map((job) => {
    const [verb = "", ...rest] = job.split(" ");
    // What is opened later is what the plain sealing left.
    const output = verb === "open" ? "opened" : job === "seal" ? "sealed" : "sealed.other";
    return {
      name: [verb, "ours", ...rest].join(" "),
      prepare: () => {
        remove(join(folder, output))();
        // Ours writes past the page cache; the others' files lie in it when they are opened.
        if (verb === "open") execFileSync("cat", [join(folder, "sealed")], { stdio: "ignore" });
      },
      command: [process.execPath, CHILD, job, folder, output],
      // As the command line does for itself: modules are compiled once, not at every start.
      environment: { NODE_COMPILE_CACHE: join(folder, "compiled") },
    };
  });
}

function floor(folder: string): Contender[] {
  const primitives = (job: string) => [process.execPath, CHILD, job, String(sizeMib * MIB)];
  const copy = join(folder, "copy");
  return [
    { name: "copy", prepare: remove(copy), command: ["cp", join(folder, "plain"), copy] },
    { name: "primitives", command: primitives("cipher and digest") },
    { name: "primitives bare", command: primitives("cipher") },
  ];
}

/** The peers that are installed. */
function peers(folder: string): Contender[] {
  const makers = { age: agePeer, rclone: rclonePeer, restic: resticPeer };
  return Object.entries(makers).flatMap(([tool, make]) =>
    spawnSync(tool, ["version"]).error === undefined ? make((name) => join(folder, name)) : [],
  );
}

function agePeer(path: (name: string) => string): Contender[] {
  execFileSync("age-keygen", ["-o", path("age.key")], { stdio: "ignore" });
  const recipient = execFileSync("age-keygen", ["-y", path("age.key")], { encoding: "utf8" }).trim();
  const [sealed, opened] = [path("age"), path("age.out")];
  return [
    {
      name: "seal age",
      prepare: remove(sealed),
      command: ["age", "-r", recipient, "-o", sealed, path("plain")],
    },
    {
      name: "open age",
      prepare: remove(opened),
      command: ["age", "-d", "-i", path("age.key"), "-o", opened, sealed],
    },
  ];
}

function rclonePeer(path: (name: string) => string): Contender[] {
  const [sealed, opened] = [path("rclone"), path("rclone.out")];
  const environment = {
    RCLONE_CONFIG: path("rclone.conf"),
    RCLONE_CONFIG_BENCH_TYPE: "crypt",
    RCLONE_CONFIG_BENCH_REMOTE: sealed,
    RCLONE_CONFIG_BENCH_PASSWORD: execFileSync("rclone", ["obscure", "benchmark"], {
      encoding: "utf8",
    }).trim(),
  };
  writeFileSync(path("rclone.conf"), "");
  const copy = (from: string, to: string) => ["rclone", "copyto", from, to];
  return [
    {
      name: "seal rclone",
      prepare: remove(sealed),
      command: copy(path("plain"), "bench:object"),
      environment,
    },
    { name: "open rclone", prepare: remove(opened), command: copy("bench:object", opened), environment },
  ];
}

function resticPeer(path: (name: string) => string): Contender[] {
  const [sealed, opened] = [path("restic"), path("restic.out")];
  const environment = { RESTIC_REPOSITORY: sealed, RESTIC_PASSWORD: "benchmark" };
  const restic = (...words: string[]) => ["restic", "--no-cache", ...words];
  const init = () => {
    remove(sealed)();
    execFileSync("restic", ["init", "--no-cache"], {
      stdio: "ignore",
      env: { ...process.env, ...environment },
    });
  };
  return [
    { name: "seal restic", prepare: init, command: restic("backup", path("plain")), environment },
    {
      name: "open restic",
      prepare: remove(opened),
      command: restic("restore", "latest", "--target", opened),
      environment,
    },
  ];
}

function remove(path: string): () => void {
  return () => rmSync(path, { force: true, recursive: true });
}

/** Runs a command; bash adds up the processor time of it and of all it waited for. */
function measure({ name, command, environment }: Contender): Cost {
  const script = 'TIMEFORMAT="%U %S %R"; time "$@" > /dev/null 2> "$OUTPUT"';
  const output = join(tmpdir(), `cloister-bench-${process.pid}.err`);
  const run = spawnSync("bash", ["-c", script, "bash", ...command], {
    encoding: "utf8",
    env: { ...process.env, ...environment, OUTPUT: output },
  });
  const said = readFileSync(output, "utf8");
  rmSync(output);
  if (run.status !== 0) throw new Error(`${name} failed: ${said}`);
  const [user = 0, system = 0, wall = 0] = (run.stderr.trim().split("\n").at(-1) ?? "")
    .split(" ")
    .map(Number);
  const resident = /resident (\d+)/.exec(said)?.[1];
  return { cpuSeconds: user + system, wallSeconds: wall, residentMib: Number(resident ?? 0) };
}

/** Resident memory at a small and at a large size. */
function memory(folder: string): { smallMib: number; largeMib: number } {
  const [smallMib, largeMib] = [256, 4096].map((sizeMib) => {
    writeRandomFile(join(folder, "plain"), sizeMib * MIB);
    const costs = ours(folder)
      .filter(({ name }) => /^(seal ours|seal ours both|open ours both)$/.test(name))
      .map((contender) => {
        contender.prepare?.();
        return measure(contender).residentMib;
      });
    rmSync(join(folder, "opened"));
    return Math.max(...costs);
  }) as [number, number];
  return { smallMib, largeMib };
}

/** What was sealed last must be what was opened last, byte for byte. */
function checkResult(folder: string): void {
  if (spawnSync("cmp", [join(folder, "plain"), join(folder, "opened")]).status !== 0)
    throw new Error("what was opened is not what was sealed");
}

type Rounds = readonly Map<string, Cost>[];
type Resident = ReturnType<typeof memory>;

/** The median over the rounds of a quotient: what was measured together is divided first. */
function ratio(
  rounds: Rounds,
  over: string,
  under: readonly string[],
  of: keyof Cost = "cpuSeconds",
): number {
  const value = (round: Map<string, Cost>, name: string) => round.get(name)?.[of] ?? Number.NaN;
  return median(
    rounds.map((round) => value(round, over) / under.reduce((sum, name) => sum + value(round, name), 0)),
  );
}

function goalsOf(rounds: Rounds, resident: Resident): GoalOutcome[] {
  const floors = { seal: ["copy", "primitives"], open: ["copy", "primitives bare"] };
  const goals = (["seal", "open"] as const).flatMap((verb): GoalOutcome[] => [
    atMost(`${verb}: CPU over the floor`, ratio(rounds, `${verb} ours`, floors[verb]), 1.5),
    atLeast(
      `${verb}: times less CPU than rclone crypt`,
      ratio(rounds, `${verb} rclone`, [`${verb} ours`]),
      3,
    ),
    atLeast(`${verb}: times less CPU than restic`, ratio(rounds, `${verb} restic`, [`${verb} ours`]), 6),
  ]);
  return [
    ...goals,
    atMost("seal without a digest: CPU over age", ratio(rounds, "seal ours bare", ["seal age"]), 1),
    atMost("open: CPU over age", ratio(rounds, "open ours", ["open age"]), 1),
    atMost(
      "seal with two threads: wall time over age",
      ratio(rounds, "seal ours 2 threads", ["seal age"], "wallSeconds"),
      1,
    ),
    atMost(
      "open with two threads: wall time over age",
      ratio(rounds, "open ours 2 threads", ["open age"], "wallSeconds"),
      1,
    ),
    atMost("resident memory at 4 GiB over 256 MiB", resident.largeMib / resident.smallMib, 1.05),
    atMost("resident memory at 4 GiB, MiB", resident.largeMib, 150),
  ];
}

function figuresOf(rounds: Rounds, resident: Resident): Record<string, unknown> {
  const names = [...(rounds[0]?.keys() ?? [])];
  const medians = (of: keyof Cost) =>
    Object.fromEntries(
      names.map((name) => [name, round2(median(rounds.map((round) => round.get(name)?.[of] ?? Number.NaN)))]),
    );
  return {
    ...{ sizeMib, rounds: rounds.length, resident },
    // What remains to be won against them at all: the floor is what encrypting, digesting and copying take.
    overFloor: {
      rclone: round2(ratio(rounds, "seal rclone", ["copy", "primitives"])),
      restic: round2(ratio(rounds, "seal restic", ["copy", "primitives"])),
    },
    cpuSeconds: medians("cpuSeconds"),
    wallSeconds: medians("wallSeconds"),
  };
}

function say(line: string): void {
  if (flags.json) console.error(line);
  else console.log(line);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number;
}

function round2(value: number): number {
  return Math.round(value * 100) / 100;
}

function writeRandomFile(path: string, sizeBytes: number): void {
  const file = openSync(path, "w");
  const block = randomBytes(MIB);
  for (let at = 0; at < sizeBytes; at += MIB) {
    // Each block differs, so that nobody finds duplicates.
    block.writeDoubleLE(at, 0);
    block.writeDoubleLE(Math.random(), 8);
    writeSync(file, createHash("sha512").update(block).digest(), 0, 64);
    writeSync(file, block, 64);
  }
  closeSync(file);
}

main();
