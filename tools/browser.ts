/** Runs code of ours in a real browser, for tests and benches. */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { chromium, type Page } from "playwright-core";
import { build, type Rolldown } from "vite";

/** Where Chromium is on this machine, if it is. */
export const browserPath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => existsSync(path),
);

/**
 * Bundles a module as a web page's build would, for browsers, with nothing of Node: a script that leaves the
 * module's exports in the global `name`.
 */
export async function bundleForBrowser(entry: string, name: string): Promise<string> {
  const built = (await build({
    root: dirname(entry),
    configFile: false,
    logLevel: "error",
    build: {
      write: false,
      minify: false,
      lib: { entry, formats: ["iife"], name, fileName: name },
    },
  })) as Rolldown.RolldownOutput[];
  const [chunk, ...more] = built.flatMap(({ output }) => output);
  if (chunk?.type !== "chunk" || more.length > 0) throw new Error("the bundle is not one file");
  return `${chunk.code}; globalThis.${name} = ${name};`;
}

/** Opens an empty page in headless Chromium, with the script loaded, and closes it when `use` has ended. */
export async function inBrowser<T>(script: string, use: (page: Page) => Promise<T>): Promise<T> {
  if (browserPath === undefined) throw new Error("there is no Chromium on this machine");
  const running = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
  try {
    const page = await running.newPage();
    await page.addScriptTag({ content: script });
    return await use(page);
  } finally {
    await running.close();
  }
}
