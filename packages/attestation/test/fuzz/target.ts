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
