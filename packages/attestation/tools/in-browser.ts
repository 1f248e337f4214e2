/** The judges of vectors, and with them every verifier, run in a real browser instead of Node. */
import { join } from "node:path";
import { bundleForBrowser, inBrowser } from "@cloister/tools/browser";
import { toBase64 } from "@cloister/core";
import { judgeAll } from "./judges/all.ts";
import type { Comparison } from "./judges/compare.ts";
import type { LoadFile, VectorEntry } from "./judges/entry.ts";
import type { judgeInPage } from "./judges/in-page.ts";

/** The judges and the verifiers under them, as one script for a page. */
export function bundleJudges(): Promise<string> {
  return bundleForBrowser(join(import.meta.dirname, "judges/in-page.ts"), "vectors");
}

/** Judges every entry in headless Chromium. @throws where there is no Chromium. */
export async function judgeInBrowser(
  entries: readonly VectorEntry[],
  load: LoadFile,
): Promise<readonly Comparison[]> {
  const given = { entries, files: filesRead(entries, load) };
  return await inBrowser(await bundleJudges(), (page) =>
    page.evaluate(
      (all) =>
        (globalThis as unknown as { vectors: { judgeInPage: typeof judgeInPage } }).vectors.judgeInPage(all),
      given,
    ),
  );
}

/** The ids of the entries that were judged differently: verdict, status, fields, mutations or codes. */
export function judgedDifferently(
  here: readonly Comparison[],
  there: readonly Comparison[],
): readonly string[] {
  return here.filter((one, i) => JSON.stringify(one) !== JSON.stringify(there[i])).map(({ id }) => id);
}

/** Every file that judging reads, in base64 by path: a page can open none itself. */
function filesRead(entries: readonly VectorEntry[], load: LoadFile): Record<string, string> {
  const files: Record<string, string> = {};
  judgeAll(entries, (path) => {
    const bytes = load(path);
    files[path] ??= toBase64(bytes);
    return bytes;
  });
  return files;
}
