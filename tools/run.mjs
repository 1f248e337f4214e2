/**
 * Runs one of the project's own tools: `node tools/run.mjs check`. Plain JavaScript on purpose: on a Node
 * that cannot run TypeScript it must still be able to say so.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const [name, ...rest] = process.argv.slice(2);
const root = fileURLToPath(new URL("..", import.meta.url));
const bundled = `${root}/node_modules/node24/bin/node`;

/** Node 22.18 and 24.11 and later run TypeScript and carry the cryptography used here; 23 and 25 are past their end. */
function isSupported(version) {
  const [major, minor] = version.split(".").map(Number);
  return (major === 22 && minor >= 18) || (major === 24 && minor >= 11) || major >= 26;
}

function nodeToUse() {
  if (isSupported(process.versions.node)) return process.execPath;
  if (existsSync(bundled)) return bundled;
  return undefined;
}

const node = nodeToUse();
if (node === undefined) {
  console.error(
    `error NODE_TOO_OLD: Cloister needs Node 22.18, 24.11 or 26 and later; this is ${process.versions.node}.`,
  );
  console.error(
    "hint: run `npm ci`, which brings Node 24 along on Linux x64, or install a newer Node from nodejs.org.",
  );
  process.exitCode = 3;
} else {
  const done = spawnSync(node, [`${root}/tools/${name}.ts`, ...rest], { stdio: "inherit" });
  process.exitCode = done.status ?? 1;
}
