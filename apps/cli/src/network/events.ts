import type { Clock, Log } from "@cloister/core";

const EVENTS_MAX = 64;

/** One line of a node's log, as its status page shows it. */
export interface NodeEvent {
  readonly atMs: number;
  readonly level: "info" | "warn";
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A log that also remembers its last lines, for the status page. */
export class RecentLog implements Log {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #events: NodeEvent[] = [];

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  info(event: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#keep("info", event, fields);
    this.#log.info(event, fields);
  }

  warn(event: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#keep("warn", event, fields);
    this.#log.warn(event, fields);
  }

  /** The last lines, oldest first. */
  recent(): readonly NodeEvent[] {
    return [...this.#events];
  }

  #keep(level: NodeEvent["level"], event: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#events.push({ atMs: this.#clock.nowMs(), level, event, fields });
    if (this.#events.length > EVENTS_MAX) this.#events.shift();
  }
}
