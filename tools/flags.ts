import { parseArgs, type ParseArgsConfig } from "node:util";

type Options = NonNullable<ParseArgsConfig["options"]>;
type Flags<T extends Options> = ReturnType<
  typeof parseArgs<{ options: T; allowPositionals: true }>
>["values"];

/**
 * Reads the options of a program that is run by hand. `--help` prints `usage` and ends it; an option that it
 * does not know, or one without its value, is named in one sentence with exit code 2.
 */
export function readFlags<const T extends Options>(usage: string, options: T): Flags<T> {
  if (process.argv.includes("--help")) {
    process.stdout.write(`${usage}\n`);
    process.exit(0);
  }
  try {
    return parseArgs<{ options: T; allowPositionals: true }>({ options, allowPositionals: true }).values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\nUsage: ${usage}\n`);
    process.exit(2);
  }
}

/** A whole number from `least` on, or exit code 2 with a sentence that names the option. */
export function wholeNumber(name: string, text: string, least = 0): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value) && value >= least) return value;
  process.stderr.write(`--${name} takes a whole number from ${least} on, not "${text}".\n`);
  process.exit(2);
}
