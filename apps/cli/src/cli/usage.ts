import { CloisterError } from "@cloister/core";

/** A command line that parses and still makes no sense; exit code 2. */
export function usageError(reason: string, message: string, hint: string): CloisterError {
  return new CloisterError(`USAGE_${reason}`, message, { hint });
}
