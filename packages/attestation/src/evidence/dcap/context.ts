import { verifySignature, type SignatureScheme } from "#signatures";
import { CloisterError, codeOf, concat, sha256, toHex, type Refusal } from "@cloister/core";
import { Memo } from "../../memo.ts";
import type { PublicKey } from "../../public-key.ts";

/** One verification: its time, its roots, and every check that failed so far. */
export interface Context {
  readonly nowMs: number;
  readonly roots: ReadonlySet<string>;
  readonly refusals: Refusal[];
}

export function fail(context: Context, code: string, reason: string, hint?: string): void {
  context.refusals.push(hint === undefined ? { code, reason } : { code, reason, hint });
}

/** Runs what reads bytes of strangers; what it throws becomes a refusal. */
export function attempt<T>(context: Context, code: string, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    const own = codeOf(error, code);
    const hint = error instanceof CloisterError ? error.hint : undefined;
    fail(context, own.startsWith("DCAP_") ? own : code, (error as Error).message, hint);
    return undefined;
  }
}

/** Everything of Intel's is signed with ECDSA over P-256 and SHA-256. */
const ECDSA: SignatureScheme = { kind: "ecdsa", hash: "sha256" };

export function signedBy(key: PublicKey, message: Uint8Array, signature: Uint8Array): boolean {
  return key.algorithm === "P-256" && verifySignature(key, ECDSA, message, signature);
}

const genuine = new Memo<true>(1024);

/** The same for statements that come again and again: only genuine ones are remembered. */
export function signedOnceBy(key: PublicKey, message: Uint8Array, signature: Uint8Array): boolean {
  const name = keyOf(key.spki, message, signature);
  if (genuine.get(name) === true) return true;
  if (!signedBy(key, message, signature)) return false;
  genuine.set(name, true);
  return true;
}

/** One key for several byte strings. */
function keyOf(...parts: readonly Uint8Array[]): string {
  const lengths = new Uint32Array(parts.map(({ length }) => length));
  return toHex(sha256(concat(new Uint8Array(lengths.buffer), ...parts)));
}
