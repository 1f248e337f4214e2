/** Text that must not be in the repository: places that exist on one machine only. */
import { violation, type SourceFile, type Violation } from "./source.ts";

const WORDS: readonly { pattern: RegExp; message: string }[] = [
  {
    pattern: /\bregistry\.(?!k8s\.io)[a-z0-9-]+\.[a-z]{2,}\b/,
    message: "names a package registry; the user's npm knows its own.",
  },
  {
    pattern: /(^|[\s"'`(=:])\/(home|root|Users|work|workspace)\/[\w.-]/,
    message:
      "is an absolute path of one machine; find it from the repository's root or an environment variable.",
  },
  {
    pattern: /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/,
    message: "is a private key; tests make their own from a seed.",
  },
];

export function wordViolations(file: SourceFile): Violation[] {
  const found: Violation[] = [];
  for (const { pattern, message } of WORDS) {
    const match = pattern.exec(file.text);
    if (match === null) continue;
    const text = match[0].trim();
    found.push(violation(file, match.index + match[0].indexOf(text), "words", `"${text}…" ${message}`));
  }
  return found;
}
