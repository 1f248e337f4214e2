import { codeOf } from "@cloister/core";

/** One decoder or verifier under fuzzing. `run` throws when it breaks its promise, whatever the bytes. */
export interface FuzzTarget {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  run(bytes: Uint8Array, seed: number): void;
}

/** What `work` gives, or undefined when it throws an error with a code, as a reader of bytes may. */
export function codedOr<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (/^[A-Z][A-Z0-9_]+$/.test(codeOf(error, ""))) return undefined;
    throw error;
  }
}

/** What escaped when the target ran on bytes that stand for one of its seeds. */
export function escapeOf(target: FuzzTarget, bytes: Uint8Array, seed: number): string | undefined {
  try {
    target.run(bytes, seed);
    return undefined;
  } catch (error) {
    return String(error);
  }
}

/** A target that only decodes. */
export function decoder(
  name: string,
  decode: (bytes: Uint8Array) => unknown,
  seeds: readonly Uint8Array[],
): FuzzTarget {
  return {
    name,
    seeds,
    run: (bytes) => void codedOr(() => decode(bytes)),
  };
}
