/**
 * Sealing and opening a file, against age, rclone crypt, restic and the floor: copying the file and running the same
 * OpenSSL primitives over the same number of bytes. CPU seconds of whole process trees, interleaved, medians of ratios.
 *
 *   node bench/seal.ts [--size-mib 1024] [--rounds 3] [--json]
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createCipheriv, createHash, createSecretKey, randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

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

const { values: flags } = parseArgs({
  options: {
    "size-mib": { type: "string", default: "1024" },
    rounds: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
    child: { type: "string" },
    at: { type: "string", default: "" },
    bytes: { type: "string", default: "0" },
  },
});

if (flags.child === undefined) main();
else await runChild(flags.child, flags.at, Number(flags.bytes));

function main(): void {
  const folder = mkdtempSync(join(tmpdir(), "cloister-bench-"));
  try {
    const sizeBytes = Number(flags["size-mib"]) * MIB;
    writeRandomFile(join(folder, "plain"), sizeBytes);
    const contenders = [...ours(folder), ...floor(folder, sizeBytes), ...peers(folder)];
    const rounds = Array.from({ length: Number(flags.rounds) }, (_, round) => runRound(contenders, round));
    checkResult(folder);
    report(figuresOf(rounds, memory(folder)));
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

function ours(folder: string): Contender[] {
  const child = (name: string) => [process.execPath, import.meta.filename, "--child", name, "--at", folder];
  const clean = (name: string) => () => rmSync(join(folder, name), { force: true });
  const jobs = [
    "seal",
    "seal bare",
    "seal 2 threads",
    "seal bare 2 threads",
    "open",
    "open bare",
    "open 2 threads",
  ];
  return jobs.map((job) => {
    const name = job.startsWith("open") ? job.replace("open", "open ours") : job.replace("seal", "seal ours");
    // What is opened later is what the full sealing left.
    const output = job.startsWith("open") ? "opened" : job === "seal" ? "sealed" : "sealed.other";
    return { name, prepare: clean(output), command: child(job) };
  });
}

function floor(folder: string, sizeBytes: number): Contender[] {
  const child = (name: string) => [
    process.execPath,
    import.meta.filename,
    "--child",
    name,
    "--bytes",
    String(sizeBytes),
  ];
  return [
    {
      name: "copy",
      prepare: () => rmSync(join(folder, "copy"), { force: true }),
      command: ["cp", join(folder, "plain"), join(folder, "copy")],
    },
    { name: "primitives", command: child("primitives") },
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
      .filter(({ name }) => name === "seal ours" || name === "open ours")
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

interface Goal {
  readonly goal: string;
  readonly figure: number;
  readonly limit: number;
  readonly met: boolean;
}

function figuresOf(rounds: readonly Map<string, Cost>[], resident: { smallMib: number; largeMib: number }) {
  const value = (name: string, of: keyof Cost = "cpuSeconds") =>
    median(rounds.map((round) => round.get(name)?.[of] ?? Number.NaN));
  const ratio = (a: string, b: string, of: keyof Cost = "cpuSeconds") =>
    median(rounds.map((round) => (round.get(a)?.[of] ?? Number.NaN) / (round.get(b)?.[of] ?? Number.NaN)));
  const toFloor = (name: string) =>
    median(
      rounds.map(
        (round) =>
          (round.get(name)?.cpuSeconds ?? Number.NaN) /
          ((round.get("copy")?.cpuSeconds ?? Number.NaN) +
            (round.get("primitives")?.cpuSeconds ?? Number.NaN)),
      ),
    );
  const names = [...(rounds[0]?.keys() ?? [])];
  const goals = (["seal", "open"] as const).flatMap((verb): Goal[] => [
    atMost(`${verb}: CPU over the floor`, toFloor(`${verb} ours`), 1.5),
    atLeast(`${verb}: times less CPU than rclone crypt`, ratio(`${verb} rclone`, `${verb} ours`), 3),
    atLeast(`${verb}: times less CPU than restic`, ratio(`${verb} restic`, `${verb} ours`), 6),
    atMost(`${verb} without digests: CPU over age`, ratio(`${verb} ours bare`, `${verb} age`), 1),
    atMost(
      `${verb} with two threads: wall time over age`,
      ratio(`${verb} ours 2 threads`, `${verb} age`, "wallSeconds"),
      1,
    ),
  ]);
  goals.push(
    atMost("resident memory at 4 GiB over 256 MiB", resident.largeMib / resident.smallMib, 1.05),
    atMost("resident memory at 4 GiB, MiB", resident.largeMib, 150),
  );
  const cpuSeconds = Object.fromEntries(names.map((name) => [name, round2(value(name))]));
  const wallSeconds = Object.fromEntries(names.map((name) => [name, round2(value(name, "wallSeconds"))]));
  return {
    name: "seal",
    figures: { sizeMib: Number(flags["size-mib"]), rounds: rounds.length, cpuSeconds, wallSeconds, resident },
    goals,
  };
}

function atMost(goal: string, figure: number, limit: number): Goal {
  return { goal, figure: round2(figure), limit, met: figure <= limit };
}

function atLeast(goal: string, figure: number, limit: number): Goal {
  return { goal, figure: round2(figure), limit, met: figure >= limit };
}

function report(result: ReturnType<typeof figuresOf>): void {
  for (const { goal, figure, limit, met } of result.goals) {
    const verdict = Number.isNaN(figure) ? "not measured: the peer is not installed" : met ? "met" : "missed";
    say(`${goal}: ${figure} (goal ${limit}): ${verdict}`);
  }
  if (flags.json) console.log(JSON.stringify(result));
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

/** The measured process. */
async function runChild(job: string, folder: string, sizeBytes: number): Promise<void> {
  enableCompileCache(join(tmpdir(), "cloister-bench-cache"));
  if (job === "primitives") runPrimitives(sizeBytes);
  else await runOurs(job, folder);
  console.error(`resident ${process.resourceUsage().maxRSS >> 10}`);
}

/** The cipher once and the digest twice, in 64 KiB, over memory that stays in the cache. */
function runPrimitives(sizeBytes: number): void {
  const [key, block] = [createSecretKey(randomBytes(32)), randomBytes(65_536)];
  const hashes = [createHash("sha256"), createHash("sha256")];
  for (let at = 0; at < sizeBytes; at += block.length) {
    const cipher = createCipheriv("chacha20-poly1305", key, new Uint8Array(12), { authTagLength: 16 });
    const output = cipher.update(block);
    cipher.final();
    cipher.getAuthTag();
    for (const hash of hashes) hash.update(block);
    output.buffer.transfer(0);
  }
}

async function runOurs(job: string, folder: string): Promise<void> {
  const { openFile, sealFile } = await import("../packages/adapters/src/store/sealed-files.ts");
  const { unwrapFileKey, x25519Identity } = await import("../packages/custody/src/index.ts");
  const identity = x25519Identity(new Uint8Array(32).fill(7));
  const options = {
    digests: !job.includes("bare"),
    threads: job.includes("2 threads") ? (2 as const) : (1 as const),
  };
  const path = (name: string) => join(folder, name);
  if (job.startsWith("seal")) {
    const output = path(job === "seal" ? "sealed" : "sealed.other");
    await sealFile(
      path("plain"),
      output,
      [identity.recipient],
      (length) => new Uint8Array(randomBytes(length)),
      options,
    );
  } else {
    await openFile(path("sealed"), path("opened"), (header) => unwrapFileKey(header, [identity]), options);
  }
}
