import { sameBytes } from "#signatures";

const memos: Memo<unknown>[] = [];

/** Empties every memory, so that a benchmark can measure the first verification again and again. */
export function forgetEverything(): void {
  for (const memo of memos) memo.clear();
}

/**
 * A bounded memory of results that depend on nothing but their key, oldest out first. It makes repeated
 * verification fast and can never change a verdict: what depends on time or policy does not go in.
 */
export class Memo<V> {
  readonly #entries = new Map<string, V>();
  readonly #entriesMax: number;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
    memos.push(this);
  }

  clear(): void {
    this.#entries.clear();
  }

  get(key: string): V | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  set(key: string, value: V): void {
    if (this.#entries.size >= this.#entriesMax) {
      this.#entries.delete(this.#entries.keys().next().value as string);
    }
    this.#entries.set(key, value);
  }
}

/**
 * The same for results that depend on the contents of byte strings: a few sampled bytes find the entry, then all
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
