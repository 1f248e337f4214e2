/** Files that name a running process. After a crash or a restart of the machine its number may be somebody else's. */
import { execFileSync } from "node:child_process";
import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { codeOf } from "@cloister/core";
import { isAlive } from "./children.ts";

/** A process by its number, and by when it began: no two have both. */
interface Note {
  readonly pid: number;
  /** Undefined where the system does not tell. */
  readonly began?: string | undefined;
}

/** Notes a process, whatever the file said before. */
export function noteProcess(file: string, pid: number): void {
  writeFileSync(file, JSON.stringify(noteOf(pid)));
}

/** A process that ran when its file was read. */
export interface NotedProcess {
  readonly pid: number;
  /** Whether it still does, and not another with its number. */
  runs(): boolean;
}

/** The process that the file names, if it still runs. */
export function runningProcess(file: string): NotedProcess | undefined {
  const note = readNote(file);
  if (note === undefined || !stillRuns(note)) return undefined;
  return { pid: note.pid, runs: () => stillRuns(note) };
}

function stillRuns({ pid, began: noted }: Note): boolean {
  if (!isAlive(pid)) return false;
  const began = beganAt(pid);
  // Of what is not known nothing can be concluded.
  return noted === undefined || began === undefined || noted === began;
}

/** Notes this process, unless the file names another one that runs: then gives that one. Of several at once, one succeeds. */
export function claimProcessFile(file: string): number | undefined {
  const own = `${file}.${process.pid}`;
  noteProcess(own, process.pid);
  try {
    for (;;) {
      try {
        linkSync(own, file);
        return undefined;
      } catch (error) {
        if (codeOf(error) !== "EEXIST") throw error;
      }
      const running = runningProcess(file);
      if (running !== undefined && running.pid !== process.pid) return running.pid;
      rmSync(file, { force: true });
    }
  } finally {
    rmSync(own, { force: true });
  }
}

function noteOf(pid: number): Note {
  const began = beganAt(pid);
  return began === undefined ? { pid } : { pid, began };
}

/** What is no note, torn by a crash say, names nobody. A bare number is a note of an earlier version. */
function readNote(file: string): Note | undefined {
  try {
    const said = JSON.parse(readFileSync(file, "utf8")) as number | Partial<Note> | null;
    const { pid, began } = typeof said === "number" ? { pid: said } : { pid: said?.pid, began: said?.began };
    return Number.isSafeInteger(pid) && (pid as number) > 0 ? { pid: pid as number, began } : undefined;
  } catch {
    return undefined;
  }
}

function beganAt(pid: number): string | undefined {
  try {
    return process.platform === "linux" ? beganOnLinux(pid) : beganElsewhere(pid);
  } catch {
    return undefined;
  }
}

/** Ticks since the machine started, which only count together with which start it was. proc(5), `/proc/pid/stat` field 22 */
function beganOnLinux(pid: number): string | undefined {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return ticks === undefined ? undefined : `${boot} ${ticks}`;
}

function beganElsewhere(pid: number): string | undefined {
  const said = execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).trim();
  return said === "" ? undefined : said;
}
