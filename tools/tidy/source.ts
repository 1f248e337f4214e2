/** The files tidy looks at, and the little syntax tree work its rules share. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseSync } from "oxc-parser";

/** A syntax node in ESTree form (with the `TS…` nodes of typescript-eslint). */
export interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [key: string]: unknown;
}

export interface Comment {
  readonly value: string;
  readonly start: number;
}

export interface Syntax {
  readonly program: Node;
  readonly comments: readonly Comment[];
  readonly errors: readonly string[];
}

/** One file by its path from the repository's root, with forward slashes. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** The parsed file; undefined for what is not TypeScript or JavaScript. Parsed once, when first asked for. */
  syntax(): Syntax | undefined;
}

export interface Violation {
  readonly path: string;
  readonly line: number;
  readonly rule: string;
  readonly message: string;
}

const SCRIPT = /\.(ts|mts|tsx|js|mjs|jsx)$/;

/** AssemblyScript shares the `.ts` suffix but is another language; generated and built files answer to their generators. */
const NOT_OURS = /(^|\/)(generated|dist|assembly)\//;

export function sourceFile(path: string, text: string): SourceFile {
  let syntax: Syntax | undefined;
  return {
    path,
    text,
    syntax() {
      if (!SCRIPT.test(path) || NOT_OURS.test(path)) return undefined;
      if (syntax === undefined) {
        const parsed = parseSync(path, text);
        syntax = {
          program: parsed.program as unknown as Node,
          comments: parsed.comments,
          errors: parsed.errors.map((error) => error.message),
        };
      }
      return syntax;
    },
  };
}

const FOLDERS_SKIPPED = new Set([
  "node_modules",
  "dist",
  ".git",
  "coverage",
  ".cloister",
  "cache",
  "out",
  "target",
]);
const TEXT = /(\.(ts|mts|tsx|js|mjs|json|md|sol|yml|yaml|toml|sh|css|html|txt|csv)|\/run|ignore|rc)$/;
const FILE_BYTES_MAX = 2_000_000;

/** Reads every text file under `root` that belongs to the repository. */
export function readRepository(root: string): SourceFile[] {
  const files: SourceFile[] = [];
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory() && !FOLDERS_SKIPPED.has(entry.name)) visit(path);
      if (!entry.isFile() || !TEXT.test(`/${path}`)) continue;
      const text = readFileSync(join(root, path), "utf8");
      if (text.length <= FILE_BYTES_MAX) files.push(sourceFile(path, text));
    }
  };
  visit("");
  return files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** Calls `visit` for a node and everything below it, parents first. */
export function walk(
  node: Node,
  visit: (node: Node, parent: Node | undefined, key: string) => void,
  parent?: Node,
  key = "",
): void {
  visit(node, parent, key);
  for (const [name, value] of Object.entries(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (isNode(child)) walk(child, visit, node, name);
    }
  }
}

export function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && typeof (value as Node).type === "string";
}

/** The 1-based line of an offset. */
export function lineOf(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at !== -1 && at < offset; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

/** Builds the violation of a rule at an offset of a file. */
export function violation(file: SourceFile, offset: number, rule: string, message: string): Violation {
  return { path: file.path, line: lineOf(file.text, offset), rule, message };
}

/** `a.b.c` for a chain of plain property reads, else undefined. */
export function dottedName(node: unknown): string | undefined {
  if (!isNode(node)) return undefined;
  if (node.type === "Identifier") return node["name"] as string;
  if (node.type !== "MemberExpression" || node["computed"] === true) return undefined;
  const object = dottedName(node["object"]);
  const property = dottedName(node["property"]);
  return object === undefined || property === undefined ? undefined : `${object}.${property}`;
}

/** The text of a string literal, else undefined. */
export function literalText(node: unknown): string | undefined {
  return isNode(node) && node.type === "Literal" && typeof node["value"] === "string"
    ? node["value"]
    : undefined;
}

export interface ImportOf {
  readonly specifier: string;
  readonly start: number;
}

/** Every static and literal dynamic import and re-export of a file, type-only ones too. */
export function importsOf(file: SourceFile): ImportOf[] {
  const syntax = file.syntax();
  const imports: ImportOf[] = [];
  if (syntax === undefined) return imports;
  walk(syntax.program, (node) => {
    if (
      !/^(ImportDeclaration|ExportNamedDeclaration|ExportAllDeclaration|ImportExpression|TSImportType)$/.test(
        node.type,
      )
    )
      return;
    const specifier = literalText(node["source"]) ?? literalText(node["argument"]);
    if (specifier !== undefined) imports.push({ specifier, start: node.start });
  });
  return imports;
}
