/**
 * Remembers secret bytes and overwrites them. What the platform copied on its own (stream buffers,
 * a collected heap) is out of reach; the sandbox's process ends with its memory. SECURITY.md, "Wiping"
 */
export class Wiper {
  readonly #kept: { readonly kind: string; readonly bytes: Uint8Array }[] = [];

  /** Marks bytes as secret until the wipe and gives them back. */
  keep<T extends Uint8Array>(kind: string, bytes: T): T {
    this.#kept.push({ kind, bytes });
    return bytes;
  }

  /** Notes that something secret is gone by itself. */
  note(kind: string): void {
    this.keep(kind, new Uint8Array());
  }

  /** Overwrites everything kept and tells of which kinds it was, sorted. */
  wipe(): string[] {
    for (const { bytes } of this.#kept) bytes.fill(0);
    return [...new Set(this.#kept.splice(0).map(({ kind }) => kind))].toSorted();
  }
}
