/** The shape of files: names, exports, function length, comments. */
import { posix } from "node:path";
import { dottedName, lineOf, violation, walk, type Node, type SourceFile, type Violation } from "./source.ts";

export const FUNCTION_LINES_MAX = 70;

const FUNCTION = /^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/;
const KEBAB = /^[a-z0-9]+(-[a-z0-9]+)*$/;

/** Functions longer than a screen. The block of a test suite is a list, not a function, and does not count. */
export function functionViolations(file: SourceFile): Violation[] {
  const found: Violation[] = [];
  for (const { node, lines } of functionLengths(file)) {
    if (lines <= FUNCTION_LINES_MAX) continue;
    const message = `a function of ${lines} lines; at most ${FUNCTION_LINES_MAX}: give its parts names.`;
    found.push(violation(file, node.start, "function-length", message));
  }
  return found;
}

/** Every function of a file with its length in lines. */
export function functionLengths(file: SourceFile): { node: Node; lines: number }[] {
  const syntax = file.syntax();
  const lengths: { node: Node; lines: number }[] = [];
  if (syntax === undefined) return lengths;
  walk(syntax.program, (node, parent) => {
    if (!FUNCTION.test(node.type) || isSuite(node, parent)) return;
    lengths.push({ node, lines: lineOf(file.text, node.end) - lineOf(file.text, node.start) + 1 });
  });
  return lengths;
}

/** A list of tests: the block of a `describe`, or a function that declares tests, such as a compliance suite. */
function isSuite(node: Node, parent: Node | undefined): boolean {
  if (parent?.type === "CallExpression" && /^(describe|suite)(\.|$)/.test(calleeName(parent))) return true;
  const statements = (node["body"] as Node)["body"];
  if (!Array.isArray(statements)) return false;
  return (statements as Node[]).some((statement) => {
    const expression = statement["expression"] as Node | undefined;
    return expression?.type === "CallExpression" && /^(test|it|describe)(\.|$)/.test(calleeName(expression));
  });
}

/** `describe` for `describe(…)`, `test.each` for `test.each(…)(…)`. */
function calleeName(call: Node): string {
  const callee = call["callee"] as Node;
  return dottedName(callee) ?? dottedName(callee["callee"]) ?? "";
}

/** Files and folders are written in kebab-case; Solidity keeps its own habit, and so do tools that fix a name. */
export function nameViolations(file: SourceFile): Violation[] {
  if (!/\.(ts|tsx|mjs|js|sh)$/.test(file.path)) return [];
  const segments = file.path.replace(/^\.ci\//, "").split("/");
  const base = segments.pop() as string;
  const stem = base.replace(/(\.(test|bench|config|d|compliance))?\.[a-z]+$/, "");
  const wrong = [...segments, stem].find((segment) => !KEBAB.test(segment));
  return wrong === undefined ? [] : [violation(file, 0, "file-name", `"${wrong}" is not kebab-case.`)];
}

const CONSTRUCTS: Readonly<Record<string, string>> = {
  TSEnumDeclaration: "no TypeScript enums; use a union of strings or an `as const` object.",
  TSParameterProperty: "no parameter properties; declare the field.",
  Decorator: "no decorators.",
  TSImportEqualsDeclaration: "no `import =`; use import.",
  TSExportAssignment: "no `export =`; use a named export.",
};

export function constructViolations(file: SourceFile): Violation[] {
  const syntax = file.syntax();
  if (syntax === undefined) return [];
  const found = syntax.errors.map((message) => violation(file, 0, "syntax", message));
  const toolWants = /\.config\.(ts|mjs|js)$/.test(file.path);
  walk(syntax.program, (node) => {
    const message = CONSTRUCTS[node.type];
    if (message !== undefined) found.push(violation(file, node.start, "construct", message));
    if (node.type === "ExportDefaultDeclaration" && !toolWants) {
      found.push(violation(file, node.start, "construct", "no default exports; name it."));
    }
    if (node.type === "TSModuleDeclaration" && node["kind"] === "namespace") {
      found.push(violation(file, node.start, "construct", "no namespaces; a file is a module."));
    }
  });
  return found;
}

/** Words that postpone. What is missing is said in SECURITY.md and in the README's status table. */
const POSTPONED = /\b(T[O]DO|FI[X]ME|X[X]X|HA[C]K)\b/;

export function commentViolations(file: SourceFile): Violation[] {
  const found: Violation[] = [];
  for (const comment of file.syntax()?.comments ?? []) {
    const word = POSTPONED.exec(comment.value)?.[0];
    if (word !== undefined) {
      found.push(
        violation(file, comment.start, "postponed", `"${word}": do it, or say the limit in SECURITY.md.`),
      );
    }
    if (/^\s*([-=*#~/])\1{3,}/.test(comment.value) || /([-=#~])\1{5,}\s*$/.test(comment.value)) {
      found.push(
        violation(file, comment.start, "divider", "no divider comments; split the file or name the parts."),
      );
    }
  }
  return found;
}

/** Source files sit where the workspaces expect them; a test mirrors a file's name by its suffix. */
export function placeViolations(file: SourceFile): Violation[] {
  const inTests = /(^|\/)test\//.test(file.path);
  if (posix.basename(file.path).endsWith(".test.ts") && !inTests) {
    return [violation(file, 0, "place", "tests live in the workspace's test/ folder.")];
  }
  return [];
}
