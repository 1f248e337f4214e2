import { CloisterError } from "@cloister/core";
import { parseGoals } from "@cloister/node";
import type { Goal } from "@cloister/swarm";
import { readText } from "./files.ts";

const GOALS_BYTES_MAX = 1024 * 1024;

/** Reads goals from a JSON file: one goal or a list. @throws {CloisterError} `GOAL_MALFORMED` */
export async function readGoals(file: string): Promise<Goal[]> {
  const text = await readText(file, GOALS_BYTES_MAX);
  return parseGoals(parseJsonDocument(text, file, "GOAL_MALFORMED"));
}

/** Reads JSON that a person wrote; the error says in which line it stops being JSON. */
export function parseJsonDocument(text: string, file: string, code: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const line = lineOf(text, (cause as Error).message);
    const where = line === undefined ? "" : `, line ${line}`;
    throw new CloisterError(code, `${file}${where} is not valid JSON.`, {
      hint: "JSON has double quotes, no comments, and no comma after the last entry.",
      cause,
    });
  }
}

/** V8 names the position, or the end of the text. */
function lineOf(text: string, message: string): number | undefined {
  const position = /position (\d+)/.exec(message)?.[1];
  if (position === undefined) return /end of JSON/.test(message) ? text.split("\n").length : undefined;
  return text.slice(0, Number(position)).split("\n").length;
}
