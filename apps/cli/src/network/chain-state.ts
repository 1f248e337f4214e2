import { copyFileSync, existsSync, readFileSync, renameSync, statSync } from "node:fs";

/**
 * The local chain writes its state in place, so that a kill in the middle of a write leaves half a file.
 * The supervisor keeps the last whole one beside it, and puts it back before the chain starts again.
 */
export function keepCopy(stateFile: string): void {
  if (!existsSync(stateFile) || !isWhole(stateFile)) return;
  const next = `${stateFile}.copying`;
  copyFileSync(stateFile, next);
  // What was copied may have been written to meanwhile.
  if (isWhole(next)) renameSync(next, `${stateFile}.whole`);
}

/**
 * Puts the last whole state back if the present one is torn. Without one, the torn one is put aside: the chain begins
 * anew, which it could not with it, and the supervisor brings onto it what the network needs. Tells what it had to do.
 */
export function mendState(stateFile: string): "whole" | "restored" | "lost" {
  if (!existsSync(stateFile) || isWhole(stateFile)) return "whole";
  const kept = existsSync(`${stateFile}.whole`);
  if (kept) copyFileSync(`${stateFile}.whole`, stateFile);
  else renameSync(stateFile, `${stateFile}.torn`);
  return kept ? "restored" : "lost";
}

/** Something that changes whenever the file does. */
export function versionOf(stateFile: string): string {
  if (!existsSync(stateFile)) return "";
  const { mtimeMs, size } = statSync(stateFile);
  return `${mtimeMs}/${size}`;
}

function isWhole(file: string): boolean {
  try {
    JSON.parse(readFileSync(file, "utf8"));
    return true;
  } catch {
    return false;
  }
}
