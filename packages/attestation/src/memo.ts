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
