#!/usr/bin/env node
// The compiler that forge calls: solc-js behind the two switches of solc's command line that forge uses.
// Plain JavaScript, so that it runs under whatever Node is first on the PATH.
import { readFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";

const solc = createRequire(import.meta.url)("solc");

// Forge leaves out sources above its root that other sources there import: the libraries of node_modules.
function readSource(path) {
  try {
    return { contents: readFileSync(path, "utf8") };
  } catch (error) {
    return { error: String(error.message) };
  }
}

function write(text) {
  const bytes = new TextEncoder().encode(text);
  for (let offset = 0; offset < bytes.length;) {
    try {
      offset += writeSync(1, bytes, offset);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

if (process.argv.includes("--version")) {
  write(
    `solc, the solidity compiler commandline interface\nVersion: ${solc.version().replace(".Emscripten.clang", ".Linux.g++")}\n`,
  );
} else if (process.argv.includes("--standard-json")) {
  write(solc.compile(readFileSync(0, "utf8"), { import: readSource }));
} else {
  process.stderr.write("Only --version and --standard-json are known.\n");
  process.exitCode = 2;
}
