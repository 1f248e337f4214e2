import { CloisterError } from "@cloister/core";

/** A command line that parses and still makes no sense. Its code begins with `USAGE_`; exit code 2. */
export function usageError(code: `USAGE_${string}`, message: string, hint: string): CloisterError {
  return new CloisterError(code, message, { hint });
}
