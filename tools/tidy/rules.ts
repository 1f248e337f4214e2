/** All rules, in the order in which their findings are most useful. */
import { banViolations, directiveViolations } from "./bans.ts";
import { codeViolations, vectorViolations } from "./codes.ts";
import { layerViolations } from "./layers.ts";
import {
  commentViolations,
  constructViolations,
  functionViolations,
  nameViolations,
  placeViolations,
} from "./shape.ts";
import type { SourceFile, Violation } from "./source.ts";
import { wordViolations } from "./words.ts";

/** Violations that existed when their rule came. Entries may be removed, never added. */
export interface Ratchet {
  readonly untestedCodes: readonly string[];
}

/** Foreign languages that share a suffix with ours: AssemblyScript engines. */
const FOREIGN = /^examples\/engines\/.*\/assembly\/|(^|\/)generated\//;

const FILE_RULES = [
  layerViolations,
  banViolations,
  directiveViolations,
  constructViolations,
  functionViolations,
  nameViolations,
  placeViolations,
  commentViolations,
];

/** Judges a whole repository. Offending samples of tidy's own tests are strings, so they do not count. */
export function judge(files: readonly SourceFile[], ratchet: Ratchet = { untestedCodes: [] }): Violation[] {
  const found: Violation[] = [];
  for (const file of files) {
    found.push(...wordViolations(file));
    if (FOREIGN.test(file.path)) continue;
    for (const rule of FILE_RULES) found.push(...rule(file));
  }
  found.push(...codeViolations(files, ratchet.untestedCodes), ...vectorViolations(files));
  return found;
}
