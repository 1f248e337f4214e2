/**
 * The number that stands for each way in which an order can fail, in reports and on chain. An engine's
 * own exit codes are 1 to 255 too; the reason beside the number tells them apart. spec/engine.md §7
 */
const EXIT_CODES: Readonly<Record<string, number>> = {
  ENGINE_TRAPPED: 200,
  ENGINE_TIME_EXCEEDED: 201,
  ENGINE_MEMORY_EXCEEDED: 202,
  ENGINE_OUTPUT_TOO_LARGE: 203,
  ENGINE_NO_OUTPUT: 204,
  ENGINE_MALFORMED: 205,
  ENGINE_IMPORT_FORBIDDEN: 206,
  LOADER_CONTENT_DIGEST_MISMATCH: 220,
  LOADER_KEY_REFUSED: 221,
  LOADER_OBJECT_UNREADABLE: 222,
};

/** The loader refused before anything was opened; the refusal statement says why. */
const REFUSED = 240;

/** The exit code of a failure; `engineCode` is what the engine itself ended with, if it did. */
export function exitCodeOf(code: string, engineCode = 0): number {
  return engineCode === 0 ? (EXIT_CODES[code] ?? REFUSED) : engineCode;
}
