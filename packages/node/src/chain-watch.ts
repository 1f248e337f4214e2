import type { Timers } from "./ports.ts";

/** Between two looks while nothing is expected of the chain, and while something is. */
const AT_EASE_MS = 200;
const CLOSELY_MS = 40;

/**
 * Looks at the chain again and again: at ease while nothing is under way there, closely while the swarm
 * waits for a block, and at once when asked to.
 */
export class ChainWatch {
  readonly #timers: Timers;
  readonly #look: () => Promise<void>;
  readonly #expecting: () => boolean;
  #wake: () => void = () => undefined;
  #asked = false;
  #stopped = false;

  constructor(ports: {
    readonly timers: Timers;
    /** Never throws. */
    look(): Promise<void>;
    /** Something that was sent is not on the chain yet. */
    expecting(): boolean;
  }) {
    this.#timers = ports.timers;
    this.#look = () => ports.look();
    this.#expecting = () => ports.expecting();
  }

  /** Looks at once, or once more when a look is under way. */
  hasten(): void {
    this.#asked = true;
    this.#wake();
  }

  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  async run(): Promise<void> {
    while (!this.#stopped) {
      this.#asked = false;
      await this.#look();
      if (this.#asked || this.#stopped) continue;
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      await Promise.race([woken, this.#timers.wait(this.#expecting() ? CLOSELY_MS : AT_EASE_MS)]);
    }
  }
}
