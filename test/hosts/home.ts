import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEnd } from "./at-end.ts";

/** A folder for as long as `use` takes; it goes with this process too. */
export async function withHome<T>(name: string, use: (home: string) => Promise<T>): Promise<T> {
  const home = mkdtempSync(join(tmpdir(), `cloister-${name}-`));
  // A child that was just killed may write for a moment still.
  const remove = (): void => rmSync(home, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  const removed = atEnd(remove);
  try {
    return await use(home);
  } finally {
    remove();
    removed();
  }
}
