/** Stable error codes: each has a test or a page that names it, and vectors name only codes that exist. */
import {
  dottedName,
  literalText,
  violation,
  walk,
  type Node,
  type SourceFile,
  type Violation,
} from "./source.ts";

const CODE = /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$/;
const IN_SOURCE = /^(packages|apps)\/[^/]+\/(src|native)\//;
const IN_PROOF = /(^|\/)test\/|^(docs|spec)\/|\.test\.ts$/;
const REFUSES = /(Error$)|refus|reject|malformed|invalid|fail|deny|error|reason/i;

/** Where a code is first given to an error or a refusal. */
export interface CodeUse {
  readonly code: string;
  readonly file: SourceFile;
  readonly start: number;
}

/** Finds the codes that sources raise: in `new …Error(CODE, …)`, `refuse(CODE, …)` and the like, and `code: CODE`. */
export function codesRaised(files: readonly SourceFile[]): Map<string, CodeUse> {
  const raised = new Map<string, CodeUse>();
  for (const file of files.filter((one) => IN_SOURCE.test(one.path))) {
    const syntax = file.syntax();
    if (syntax === undefined) continue;
    walk(syntax.program, (node) => {
      const code = codeIn(node);
      if (code !== undefined && CODE.test(code) && !raised.has(code)) {
        raised.set(code, { code, file, start: node.start });
      }
    });
  }
  return raised;
}

function codeIn(node: Node): string | undefined {
  if (node.type === "Property" && dottedName(node["key"]) === "code") return literalText(node["value"]);
  if (node.type !== "NewExpression" && node.type !== "CallExpression") return undefined;
  const callee = node["callee"] as Node;
  const name = callee.type === "MemberExpression" ? dottedName(callee["property"]) : dottedName(callee);
  return REFUSES.test(name ?? "") ? literalText((node["arguments"] as Node[])[0]) : undefined;
}

/**
 * Codes that no test, spec or guide names. `known` lists those that were there when the rule came:
 * the list may only shrink, so an entry that is no longer needed is a violation too.
 */
export function codeViolations(files: readonly SourceFile[], known: readonly string[]): Violation[] {
  const raised = codesRaised(files);
  const proofs = files.filter((file) => IN_PROOF.test(file.path)).map((file) => file.text);
  const named = new Set(proofs.flatMap((text) => text.match(/\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g) ?? []));
  const found: Violation[] = [];
  for (const { code, file, start } of raised.values()) {
    if (named.has(code) || known.includes(code)) continue;
    found.push(
      violation(file, start, "code-untested", `${code} is raised here, and no test or page names it.`),
    );
  }
  for (const code of known.filter((one) => named.has(one) || !raised.has(one))) {
    const message = `${code} needs no exception any more: remove it.`;
    found.push({ path: "tools/tidy/ratchet.json", line: 1, rule: "ratchet", message });
  }
  return found;
}

/** Vectors that expect a code which no source contains. */
export function vectorViolations(files: readonly SourceFile[]): Violation[] {
  const found: Violation[] = [];
  const sources = files.filter((file) => IN_SOURCE.test(file.path)).map((file) => file.text);
  for (const file of files.filter((one) => /^spec\/vectors\/.*\.json$/.test(one.path))) {
    for (const match of file.text.matchAll(
      /"(?:code|error|errorCode|expect)"\s*:\s*"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"/g,
    )) {
      const code = match[1];
      if (sources.some((text) => text.includes(`"${code}"`) || text.includes(`${code}:`))) continue;
      found.push(violation(file, match.index, "vector-code", `${code} is not a code of any source file.`));
    }
  }
  return found;
}
