/** Who may import whom: the arrows of ARCHITECTURE, which the compiler alone does not hold. */
import { posix } from "node:path";
import { importsOf, violation, type SourceFile, type Violation } from "./source.ts";

/** What each package's `src` may import of the others. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  attestation: ["core"],
  certification: ["core", "attestation"],
  custody: ["core", "attestation"],
  swarm: ["core", "attestation"],
  market: ["core"],
  workload: ["core", "attestation", "certification", "custody", "swarm", "market"],
  node: ["core", "attestation", "certification", "custody", "swarm", "market", "workload"],
  adapters: ["core", "attestation", "certification", "custody", "swarm", "market", "workload", "node"],
  sim: ["core", "attestation", "certification", "custody", "swarm", "market", "workload", "node"],
};

/** Packages without clock, entropy, socket, disk or environment: all but the two at the edge. */
const PURE = new Set(Object.keys(MAY_IMPORT).filter((name) => name !== "adapters" && name !== "sim"));

/** Never imported: what they are is known to be broken, or another package of the stack does it. */
const MODULES_BANNED: Readonly<Record<string, string>> = {
  elliptic: "@noble/curves",
  playwright: "playwright-core",
  nanotar: "modern-tar",
  "node:wasi": "@bjorn3/browser_wasi_shim (node:wasi is not meant for untrusted code)",
};

/** `packages/x/src/…` → `{ package: "x", part: "src" }`; undefined outside packages. */
export function placeOf(path: string): { package: string; part: string } | undefined {
  const match = /^packages\/([^/]+)\/([^/]+)/.exec(path);
  return match === null ? undefined : { package: match[1] as string, part: match[2] as string };
}

/** Tells whether a file is part of a package that must stay pure; `native/` folders are judged apart. */
export function isPureSource(path: string): boolean {
  const place = placeOf(path);
  return place !== undefined && PURE.has(place.package) && place.part === "src";
}

function isPureNative(path: string): boolean {
  const place = placeOf(path);
  return place !== undefined && PURE.has(place.package) && place.part === "native";
}

export function layerViolations(file: SourceFile): Violation[] {
  const found: Violation[] = [];
  for (const { specifier, start } of importsOf(file)) {
    const say = (rule: string, message: string): void =>
      void found.push(violation(file, start, rule, message));
    const banned = MODULES_BANNED[specifier];
    if (banned !== undefined) say("module-banned", `"${specifier}" is banned; use ${banned}.`);
    if (specifier.startsWith(".")) judgeRelative(file, specifier, say);
    else judgePackage(file, specifier, say);
  }
  return found;
}

/** How programs that are run by hand read options, print goals and open a browser; no source of a package needs it. */
const HAND_TOOLS = /^@cloister\/tools\/(browser|flags|report)$/;

type Say = (rule: string, message: string) => void;

function judgePackage(file: SourceFile, specifier: string, say: Say): void {
  if (specifier.startsWith("node:") || isBareBuiltin(specifier)) judgeBuiltin(file, specifier, say);
  const target = /^@cloister\/([^/]+)/.exec(specifier)?.[1];
  if (target === undefined) return;
  if ((target === "cli" || target === "web") && !isEndToEnd(file.path))
    say("layers", `nothing imports apps, but this imports ${specifier}.`);
  const place = placeOf(file.path);
  if (place === undefined || target === place.package) return;
  const edges = [place.package, target].toSorted().join();
  if (edges === "adapters,sim") return say("layers", "adapters and sim never import each other.");
  if (place.part === "test" || (place.part === "tools" && HAND_TOOLS.test(specifier))) return;
  if (!(MAY_IMPORT[place.package] ?? []).includes(target)) {
    say("layers", `${place.package} must not import ${specifier}: the arrows go one way (ARCHITECTURE.md).`);
  }
}

function judgeBuiltin(file: SourceFile, specifier: string, say: Say): void {
  if (!specifier.startsWith("node:")) say("builtin-prefix", `write "node:${specifier}".`);
  if (isPureSource(file.path)) {
    say(
      "pure",
      `"${specifier}" is not allowed from core to node; declare a port and implement it in adapters.`,
    );
  }
  if (isPureNative(file.path) && specifier !== "node:crypto") {
    say("pure", `native/ folders may use node:crypto only, not "${specifier}".`);
  }
}

function isBareBuiltin(specifier: string): boolean {
  return /^(assert|buffer|child_process|crypto|fs|http|https|net|os|path|process|stream|timers|tls|url|util|worker_threads|zlib)(\/|$)/.test(
    specifier,
  );
}

function judgeRelative(file: SourceFile, specifier: string, say: Say): void {
  if (!/\.(ts|tsx|mjs|json|css)$/.test(specifier)) {
    say("relative-suffix", `a relative import names its file: "${specifier}.ts".`);
  }
  const target = posix.normalize(posix.join(posix.dirname(file.path), specifier));
  const [from, to] = [homeOf(file.path), homeOf(target)];
  if (from !== to) return judgeCrossing(file, target, say);
  const inNative = target.startsWith(`${from}/native/`);
  if (inNative && file.path.startsWith(`${from}/src/`)) {
    say(
      "native",
      "native/ is reached through the package's `#…` import only, so that browsers get the portable code.",
    );
  }
}

/** Relative paths end at the border of a workspace; tests may share test code, and benchmarks time insides. */
function judgeCrossing(file: SourceFile, target: string, say: Say): void {
  if (isEndToEnd(file.path)) return;
  if (target.startsWith("apps/")) return say("layers", `nothing imports apps, but this imports ${target}.`);
  const testsBoth = /(^|\/)test\//.test(file.path) && /(^|\/)(test|testing|tools)\//.test(target);
  const measures = file.path.startsWith("bench/") && target.startsWith("packages/");
  if (!testsBoth && !measures && !target.endsWith(".json"))
    say("layers", `${target} belongs to another workspace; import its package by name.`);
}

/** The tests across packages look at whatever they test, apps too. */
function isEndToEnd(path: string): boolean {
  return path.startsWith("test/");
}

/** The workspace a path belongs to. */
function homeOf(path: string): string {
  return /^((packages|apps)\/[^/]+|[^/]+)/.exec(path)?.[0] ?? "";
}
