/** Style as a test: `node tools/tidy.ts` prints every violation and exits 1 when there is one. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { judge, type Ratchet } from "./tidy/rules.ts";
import { functionLengths } from "./tidy/shape.ts";
import { readRepository } from "./tidy/source.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const files = readRepository(root);
const ratchet = JSON.parse(readFileSync(`${root}/tools/tidy/ratchet.json`, "utf8")) as Ratchet;
const violations = judge(files, ratchet);
for (const { path, line, rule, message } of violations) console.log(`${path}:${line} ${rule}: ${message}`);

const lengths = files
  .filter((file) => /\/src\//.test(file.path))
  .flatMap((file) => functionLengths(file).map(({ lines }) => lines))
  .toSorted((a, b) => a - b);
const median = lengths[Math.floor(lengths.length / 2)] ?? 0;
console.log(
  `${files.length} files, ${lengths.length} functions (median ${median} lines), ${violations.length} violations`,
);
process.exitCode = violations.length === 0 ? 0 : 1;
