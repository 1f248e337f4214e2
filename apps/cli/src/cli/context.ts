/** What every command gets: where the state lives, how to speak, what time it is. */
import { resolve } from "node:path";
import { usageError } from "./usage.ts";
import type { Command } from "commander";
import { Output } from "./output.ts";

export interface Context {
  /** Absolute path of the folder with this network's state (`--home`, CLOISTER_HOME, `./.cloister`). */
  readonly home: string;
  readonly json: boolean;
  readonly quiet: boolean;
  /** Whether a person can be asked: a terminal on both ends, and no `--json`. */
  readonly interactive: boolean;
  readonly output: Output;
  nowMs(): number;
}

interface GlobalOptions {
  readonly home?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly color?: boolean;
}

/** Builds the context of a program; its members follow the flags, so read them inside actions only. */
export function createContext(program: Command, env: Readonly<NodeJS.ProcessEnv>): Context {
  const options = (): GlobalOptions => program.opts();
  const json = (): boolean => options().json === true;
  const quiet = (): boolean => options().quiet === true;
  const color = (): boolean =>
    options().color !== false && (env["NO_COLOR"] ?? "") === "" && !json() && process.stdout.isTTY === true;
  return {
    get home() {
      return homeOf(options().home, env["CLOISTER_HOME"]);
    },
    get json() {
      return json();
    },
    get quiet() {
      return quiet();
    },
    get interactive() {
      return !json() && process.stdin.isTTY === true && process.stderr.isTTY === true;
    },
    output: new Output(() => ({ json: json(), quiet: quiet(), color: color() })),
    nowMs: () => Date.now(),
  };
}

/** An empty variable is one that is not set; an empty option is a script's mistake, and would mean the folder one is in. */
function homeOf(option: string | undefined, variable: string | undefined): string {
  if (option === "") {
    throw usageError(
      "USAGE_HOME_EMPTY",
      "--home names no folder.",
      "Name one, or leave --home out for ./.cloister.",
    );
  }
  return resolve(option ?? (variable === undefined || variable === "" ? ".cloister" : variable));
}
