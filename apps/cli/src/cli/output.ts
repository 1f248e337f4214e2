/** The only place that writes to the terminal. Results go to stdout, everything said on the way to stderr. */
import { stripVTControlCharacters } from "node:util";
import { formatBytes, formatEther } from "@cloister/core";
import type { Failure } from "./errors.ts";

export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly color: boolean;
}

export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  bad(text: string): string;
  warn(text: string): string;
}

export interface Progress {
  /** Adds to what is done, in the unit of the total. */
  advance(amount: number): void;
  /** Changes what the line says. */
  label(text: string): void;
  /** Removes the line. Safe to call twice. */
  end(): void;
}

export class Output {
  readonly #options: () => OutputOptions;

  /** `options` is asked at each use, since the flags are known only once the command line is parsed. */
  constructor(options: () => OutputOptions) {
    this.#options = options;
  }

  get style(): Style {
    const paint =
      (code: number, end: number) =>
      (text: string): string =>
        this.#options().color ? `\u001B[${code}m${text}\u001B[${end}m` : text;
    return {
      bold: paint(1, 22),
      dim: paint(2, 22),
      good: paint(32, 39),
      bad: paint(31, 39),
      warn: paint(33, 39),
    };
  }

  /** Prints the command's result: `value` as one JSON document with `--json`, else the lines of `human`. */
  result(value: unknown, human: () => string | readonly string[]): void {
    if (this.#options().json) return void process.stdout.write(`${toJson(value)}\n`);
    const text = human();
    process.stdout.write(`${typeof text === "string" ? text : text.join("\n")}\n`);
  }

  /** Prints one of many results as it comes: one line of JSON with `--json`, else the lines of `human`. */
  event(value: unknown, human: () => string | readonly string[]): void {
    if (!this.#options().json) return this.result(value, human);
    process.stdout.write(`${toJson(value).replaceAll(/\n */g, "")}\n`);
  }

  /** Says something that is not the result. Silent with `--json` or `--quiet`. */
  note(text: string): void {
    const { json, quiet } = this.#options();
    if (!json && !quiet) process.stderr.write(`${text}\n`);
  }

  /** Says something that must not be missed: a simulation, a key shown once. Silent only with `--json`. */
  warn(text: string): void {
    if (!this.#options().json) process.stderr.write(`${this.style.warn(text)}\n`);
  }

  failure(failure: Failure): void {
    const { exitCode: _, ...error } = failure;
    if (this.#options().json) return void process.stdout.write(`${toJson({ error })}\n`);
    const lines = [`${this.style.bad(`error ${failure.code}:`)} ${failure.message}`];
    const [first, ...others] = (failure.refusals ?? []).map(
      ({ code, reason }) => `  also ${code}: ${reason}`,
    );
    lines.push(...new Set(others.filter((line) => line !== first)));
    if (failure.hint !== undefined) lines.push(`hint: ${failure.hint}`);
    process.stderr.write(`${lines.join("\n")}\n`);
  }

  /** Shows a line that moves while work goes on: a bar when the total is known. Off a terminal it shows nothing. */
  progress(label: string, totalBytes?: number): Progress {
    const { json, quiet } = this.#options();
    if (json || quiet || process.stderr.isTTY !== true) return SILENT;
    return new ProgressLine(label, totalBytes);
  }
}

const SILENT: Progress = { advance: () => undefined, label: () => undefined, end: () => undefined };
const REDRAW_MS = 80;
const BAR_WIDTH = 24;
/** A line that wraps could not be taken back; some terminals do not tell their width. */
const COLUMNS_DEFAULT = 80;
const SPINNER = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

class ProgressLine implements Progress {
  readonly #totalBytes: number | undefined;
  readonly #timer: NodeJS.Timeout;
  #text: string;
  #done = 0;
  #frame = 0;

  constructor(text: string, totalBytes: number | undefined) {
    this.#text = text;
    this.#totalBytes = totalBytes;
    this.#timer = setInterval(() => this.#draw(), REDRAW_MS);
    this.#timer.unref();
  }

  advance(amount: number): void {
    this.#done += amount;
  }

  label(text: string): void {
    this.#text = text;
  }

  end(): void {
    clearInterval(this.#timer);
    if (this.#frame > 0) process.stderr.write("\r\u001B[2K");
    this.#frame = 0;
  }

  #draw(): void {
    const spinner = SPINNER[this.#frame++ % SPINNER.length];
    const line = `${spinner} ${this.#text}${this.#amount()}`;
    process.stderr.write(`\r\u001B[2K${line.slice(0, (process.stderr.columns || COLUMNS_DEFAULT) - 1)}`);
  }

  #amount(): string {
    if (this.#totalBytes === undefined) return this.#done === 0 ? "" : ` ${formatBytes(this.#done)}`;
    const share = this.#totalBytes === 0 ? 1 : Math.min(1, this.#done / this.#totalBytes);
    const full = Math.round(share * BAR_WIDTH);
    const bar = "█".repeat(full) + "░".repeat(BAR_WIDTH - full);
    return ` ${bar} ${Math.floor(share * 100)} % of ${formatBytes(this.#totalBytes)}`;
  }
}

/** JSON with what JSON lacks: amounts become decimal strings, bytes hex. */
export function toJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_, member: unknown) => {
      if (typeof member === "bigint") return member.toString();
      if (member instanceof Uint8Array) return Buffer.from(member).toString("hex");
      if (member instanceof Map) return Object.fromEntries(member);
      return member;
    },
    2,
  );
}

const MICRO_WEI = 10n ** 12n;

/** An amount for people: six decimals, the rest cut off. `--json` has all of it. */
export function formatCoins(amountWei: bigint): string {
  return formatEther((amountWei / MICRO_WEI) * MICRO_WEI);
}

/** How many columns a text takes on a terminal: colors take none. */
export function visibleWidth(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}

/** Columns that line up, with a dim head; for lists in human output. */
export function formatTable(
  style: Style,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string[] {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => visibleWidth(row[column] ?? ""))),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell + " ".repeat(Math.max(0, (widths[column] ?? 0) - visibleWidth(cell))))
      .join("  ")
      .trimEnd();
  return [style.dim(line(head)), ...rows.map(line)];
}

/** `name: value` lines that line up; for one thing in human output. */
export function formatFields(fields: readonly (readonly [name: string, value: string])[]): string[] {
  const width = Math.max(...fields.map(([name]) => name.length));
  return fields.map(([name, value]) => `${name.padEnd(width)}  ${value}`);
}
