import { sameBytes } from "#signatures";
import { Memo } from "./memo.ts";

/**
 * A `Memo` of results that depend on the contents of byte strings: a few sampled bytes find the entry, then all
 * bytes are compared, which costs a tenth of hashing them. Two contents that sample alike displace each other.
 */
export class ContentMemo<V> {
  readonly #memo: Memo<{ readonly parts: readonly (Uint8Array | undefined)[]; readonly value: V }>;

  constructor(entriesMax: number) {
    this.#memo = new Memo(entriesMax);
  }

  get(parts: readonly (Uint8Array | undefined)[]): V | undefined {
    const entry = this.#memo.get(sampleOf(parts));
    const same = entry?.parts.every((part, i) => sameContent(part, parts[i])) === true;
    return same ? entry?.value : undefined;
  }

  /** Keeps copies of the parts. */
  set(parts: readonly (Uint8Array | undefined)[], value: V): void {
    this.#memo.set(sampleOf(parts), { parts: parts.map((part) => part?.slice()), value });
  }
}

const SAMPLES = 16;

function sampleOf(parts: readonly (Uint8Array | undefined)[]): string {
  let sample = "";
  for (const part of parts) {
    sample += part === undefined ? "-" : part.length;
    const length = part?.length ?? 0;
    for (let i = 0; i < SAMPLES; i++) {
      const at = Math.floor((i * length) / SAMPLES);
      sample += `.${part?.[at] ?? 0}.${part?.[at + 1] ?? 0}`;
    }
  }
  return sample;
}

function sameContent(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : sameBytes(a, b);
}
