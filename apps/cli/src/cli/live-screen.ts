/** A picture that fills the terminal and is drawn anew again and again, until somebody presses q. */

export const COLUMNS_DEFAULT = 80;
const ROWS_DEFAULT = 24;
const ENTER = "\u001B[?1049h\u001B[?25l";
const LEAVE = "\u001B[?25h\u001B[?1049l";
const HOME = "\u001B[H";
const CLEAR_LINE = "\u001B[K";
const CLEAR_BELOW = "\u001B[J";

export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}

export interface LiveScreenOptions {
  readonly intervalMs: number;
  /** The lines of the picture. `fresh` is false when only the size or a setting changed. */
  draw(size: ScreenSize, fresh: boolean): Promise<readonly string[]>;
  /** What single keys do, besides q, Ctrl-C and p. */
  readonly keys: Readonly<Record<string, () => void>>;
}

export class LiveScreen {
  readonly #options: LiveScreenOptions;
  #paused = false;
  #drawing = false;
  #again: boolean | undefined;
  #failure: Error | undefined;
  #end: () => void = () => undefined;

  constructor(options: LiveScreenOptions) {
    this.#options = options;
  }

  /** Whether both ends are a terminal. */
  static available(): boolean {
    return process.stdout.isTTY === true && process.stdin.isTTY === true;
  }

  /** Shows the picture until q; whatever goes wrong, the terminal is given back as it was. */
  async run(): Promise<void> {
    const { stdin, stdout } = process;
    const redraw = (): void => void this.#draw(false);
    const press = (data: Buffer): void => this.#press(data.toString());
    const ended = new Promise<void>((resolve) => (this.#end = resolve));
    stdin.setRawMode(true);
    stdin.resume();
    stdin.on("data", press);
    stdout.on("resize", redraw);
    process.once("SIGTERM", this.#end);
    stdout.write(ENTER);
    const timer = setInterval(() => void (this.#paused || this.#draw(true)), this.#options.intervalMs);
    try {
      void this.#draw(true);
      await ended;
    } finally {
      clearInterval(timer);
      stdin.setRawMode(false);
      stdin.pause();
      stdin.off("data", press);
      stdout.off("resize", redraw);
      stdout.write(LEAVE);
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  #press(keys: string): void {
    for (const key of keys) {
      if (key === "q" || key === "\u0003") return this.#end();
      if (key === "p") this.#paused = !this.#paused;
      this.#options.keys[key]?.();
    }
    void this.#draw(false);
  }

  async #draw(fresh: boolean): Promise<void> {
    if (this.#drawing) {
      this.#again = fresh || this.#again === true;
      return;
    }
    this.#drawing = true;
    try {
      const size = {
        columns: process.stdout.columns || COLUMNS_DEFAULT,
        rows: process.stdout.rows || ROWS_DEFAULT,
      };
      const lines = await this.#options.draw(size, fresh);
      const shown = lines.slice(0, size.rows).map((line) => line + CLEAR_LINE);
      process.stdout.write(`${HOME}${shown.join("\r\n")}${CLEAR_BELOW}`);
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      this.#end();
    }
    this.#drawing = false;
    const again = this.#again;
    this.#again = undefined;
    if (again !== undefined) void this.#draw(again);
  }
}
