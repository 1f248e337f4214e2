/** Names that must not be used, each with what to use instead. */
import { dottedName, isNode, violation, walk, type Node, type SourceFile, type Violation } from "./source.ts";
import { isPureSource, placeOf } from "./layers.ts";

/** Globals that reach for the outside world. A dotted name bans that member only. */
const PURE_BANS: Readonly<Record<string, string>> = {
  "Date.now": "a `nowMs: number` argument",
  "Math.random": "an `entropy: Entropy` argument",
  performance: "a `nowMs: number` argument",
  process: "an argument",
  setTimeout: "an effect that asks the runtime for a timer",
  setInterval: "an effect that asks the runtime for a timer",
  setImmediate: "an effect that asks the runtime for a timer",
  fetch: "a port, implemented in adapters",
  XMLHttpRequest: "a port, implemented in adapters",
  WebSocket: "a port, implemented in adapters",
  EventSource: "a port, implemented in adapters",
  localStorage: "the RecordStore port",
  indexedDB: "the RecordStore port",
  crypto: "`#crypto` of core, or an `entropy: Entropy` argument",
  console: "the Log port",
  Buffer: "Uint8Array and the bytes functions of core",
  globalThis: "an argument",
  navigator: "an argument",
  require: "import",
};

/** Banned in every package, adapters and sim too. */
const PACKAGE_BANS: Readonly<Record<string, string>> = {
  "Math.random": "node:crypto in adapters, the seeded generator in sim",
  console: "the Log port",
  "process.exit": "throwing, and letting the program end",
};

const EVERYWHERE_BANS: Readonly<Record<string, string>> = {
  eval: "code",
  Function: "a closure",
  "it.skip": "test.skipIf(condition) with the reason in the name",
  "test.skip": "test.skipIf(condition) with the reason in the name",
  "describe.skip": "describe.skipIf(condition) with the reason in the name",
  "it.only": "running one file: vitest run PATH",
  "test.only": "running one file: vitest run PATH",
  "describe.only": "running one file: vitest run PATH",
  "it.todo": "a test",
  "test.todo": "a test",
};

/** Methods banned by name wherever they are called. */
const METHOD_BANS: Readonly<Record<string, string>> = {
  substr: "slice",
  execSync: "execFileSync with an argument list",
};

export function banViolations(file: SourceFile): Violation[] {
  const syntax = file.syntax();
  if (syntax === undefined) return [];
  const bans: Record<string, string> = { ...EVERYWHERE_BANS };
  if (placeOf(file.path)?.part === "src") Object.assign(bans, PACKAGE_BANS);
  if (isPureSource(file.path)) Object.assign(bans, PURE_BANS);
  const declared = declaredNames(syntax.program);
  const found: Violation[] = [];
  const say = (node: Node, rule: string, message: string): void =>
    void found.push(violation(file, node.start, rule, message));
  walk(syntax.program, (node, parent, key) => {
    const name = usedName(node, parent, key);
    const root = name?.split(".")[0];
    if (name !== undefined && Object.hasOwn(bans, name) && !declared.has(root as string)) {
      say(node, "banned", `\`${name}\` is banned here; use ${bans[name]}.`);
    }
    if (node.type === "CallExpression") judgeCall(node, say);
    if (node.type === "NewExpression") judgeNew(node, isPureSource(file.path), say);
  });
  return found;
}

type Say = (node: Node, rule: string, message: string) => void;

function judgeCall(node: Node, say: Say): void {
  const callee = node["callee"] as Node;
  const method = callee.type === "MemberExpression" ? dottedName(callee["property"]) : dottedName(callee);
  if (method !== undefined && Object.hasOwn(METHOD_BANS, method)) {
    say(node, "banned", `\`${method}\` is banned; use ${METHOD_BANS[method]}.`);
  }
  const [argument] = node["arguments"] as Node[];
  const copies = argument?.type === "CallExpression" && dottedName(argument["callee"]) === "JSON.stringify";
  if (dottedName(callee) === "JSON.parse" && copies) say(node, "banned", "use structuredClone to copy.");
}

function judgeNew(node: Node, pure: boolean, say: Say): void {
  const readsClock = dottedName(node["callee"]) === "Date" && (node["arguments"] as Node[]).length === 0;
  if (pure && readsClock)
    say(node, "banned", "`new Date()` reads the clock; take `nowMs: number` as an argument.");
}

/** The global name (or `Global.member`) that an expression reads, else undefined. */
function usedName(node: Node, parent: Node | undefined, key: string): string | undefined {
  if (node.type === "MemberExpression") return dottedName(node);
  if (node.type !== "Identifier" || parent === undefined) return undefined;
  const computed = parent["computed"] === true;
  if (key === "property" && !computed) return undefined;
  const keyOnly = key === "key" && !computed && parent["shorthand"] !== true;
  if (
    keyOnly ||
    (/^(imported|exported|local|label|right)$/.test(key) &&
      /Specifier|Labeled|QualifiedName/.test(parent.type))
  ) {
    return undefined;
  }
  if (parent.type === "TSTypeReference" || parent.type === "TSInterfaceHeritage") return undefined;
  return node["name"] as string;
}

/** Every name that the file itself binds somewhere. Coarse on purpose: the compiler catches what hides behind one. */
function declaredNames(program: Node): Set<string> {
  const names = new Set<string>();
  walk(program, (node) => {
    if (/Import.*Specifier$/.test(node.type)) bindPattern(node["local"], names);
    if (
      /^(VariableDeclarator|FunctionDeclaration|ClassDeclaration|TSInterfaceDeclaration)$/.test(node.type)
    ) {
      bindPattern(node["id"], names);
    }
    if (node.type === "CatchClause") bindPattern(node["param"], names);
    if (Array.isArray(node["params"])) for (const param of node["params"]) bindPattern(param, names);
  });
  return names;
}

/** Adds the names a pattern binds; default values and types inside it are uses, not bindings. */
function bindPattern(pattern: unknown, names: Set<string>): void {
  if (!isNode(pattern)) return;
  if (pattern.type === "Identifier") names.add(pattern["name"] as string);
  if (pattern.type === "AssignmentPattern") bindPattern(pattern["left"], names);
  if (pattern.type === "RestElement") bindPattern(pattern["argument"], names);
  if (pattern.type === "ArrayPattern")
    for (const element of pattern["elements"] as unknown[]) bindPattern(element, names);
  if (pattern.type === "ObjectPattern") {
    for (const property of pattern["properties"] as Node[]) bindPattern(property["value"] ?? property, names);
  }
}

/** Directives that switch the compiler or the linter off say why, on the same line. */
export function directiveViolations(file: SourceFile): Violation[] {
  const found: Violation[] = [];
  for (const comment of file.syntax()?.comments ?? []) {
    const text = comment.value.trim();
    if (/^@ts-(ignore|nocheck)/.test(text)) {
      found.push(
        violation(file, comment.start, "directive", "use @ts-expect-error with the reason behind it."),
      );
    }
    if (/^(@ts-expect-error|(oxlint|eslint)-disable\S*(\s+[\w@/,-]+)?)\s*$/.test(text)) {
      found.push(
        violation(file, comment.start, "directive", "a switched-off check needs its reason: `… -- why`."),
      );
    }
  }
  return found;
}
