import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

/** A PostgreSQL server of its own, reachable over a unix socket in a folder of its own. */
export interface PostgresServer {
  /** The URL of a new, empty database. */
  createDatabase(): Promise<string>;
  readonly pid: number;
  /** Kills the server as a power cut would. */
  crash(): Promise<void>;
  /** Starts it again after a crash. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

const DEBIAN = "/usr/lib/postgresql";
const STARTS_WITHIN_MS = 30_000;

/** The folder with the newest PostgreSQL's binaries, or undefined where none is that this user can start. */
export function findPostgres(): string | undefined {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).toSorted((a, b) => Number(b) - Number(a)) : [];
  const debian = versions.map((version) => join(DEBIAN, version, "bin"));
  const onPath = (process.env["PATH"] ?? "").split(delimiter);
  const found = [...debian, ...onPath].find((bin) => existsSync(join(bin, "initdb")));
  return found === undefined || serverUser() === undefined ? undefined : found;
}

type User = { readonly uid?: number; readonly gid?: number };

/** The server refuses to run as root, so root starts it as somebody else; undefined when it may not. */
function serverUser(): User | undefined {
  if (process.getuid?.() !== 0) return {};
  return ["postgres", "nobody"].map(userNamed).find((user) => user !== undefined);
}

function userNamed(name: string): User | undefined {
  const [uid, gid] = ["-u", "-g"].map((flag) =>
    Number(spawnSync("id", [flag, name]).stdout?.toString() || "x"),
  );
  if (!Number.isInteger(uid) || !Number.isInteger(gid)) return undefined;
  const user = { uid: uid as number, gid: gid as number };
  return spawnSync("true", [], { ...user, cwd: "/" }).status === 0 ? user : undefined;
}

/** Makes a cluster in a temporary folder and starts it. */
export async function startPostgres(): Promise<PostgresServer> {
  const bin = findPostgres() as string;
  const folder = mkdtempSync(join(tmpdir(), "cloister-postgres-"));
  const user = serverUser() as User;
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid as number);
  const data = join(folder, "data");
  const run = (program: string, args: readonly string[]): void => {
    const done = spawnSync(join(bin, program), args, { ...user, cwd: folder });
    if (done.status !== 0) throw new Error(`${program} failed: ${String(done.stderr)}`);
  };
  run("initdb", ["-D", data, "-U", "cloister", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]);
  const start = async (): Promise<ChildProcess> => {
    const args = ["-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "jit=off"];
    const child = spawn(join(bin, "postgres"), args, { ...user, cwd: folder, stdio: "ignore" });
    await untilReady(bin, folder);
    return child;
  };
  let child = await start();
  let databases = 0;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, "exit");
  };
  return {
    get pid() {
      return child.pid as number;
    },
    async createDatabase() {
      const name = `index_${++databases}`;
      run("createdb", ["-h", folder, "-U", "cloister", name]);
      return `postgres://cloister@/${name}?host=${encodeURIComponent(folder)}`;
    },
    // The postmaster's immediate shutdown: its children leave everything as it is, and the next start recovers.
    crash: () => end("SIGQUIT"),
    async restart() {
      child = await start();
    },
    async stop() {
      await end("SIGINT");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function untilReady(bin: string, folder: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < STARTS_WITHIN_MS; waitedMs += 100) {
    if (spawnSync(join(bin, "pg_isready"), ["-h", folder, "-U", "cloister", "-q"]).status === 0) return;
    await wait(100);
  }
  throw new Error("PostgreSQL did not start in time");
}
