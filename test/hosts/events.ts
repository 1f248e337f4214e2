import { performance } from "node:perf_hooks";

/** One line that a process logged, with the moment at which it was read here. */
export interface HostEvent {
  readonly host: string;
  /** On this process's monotonic clock. */
  readonly atMs: number;
  /** On the host's own wall clock. */
  readonly hostMs: number;
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

interface Waiting {
  readonly matches: (event: HostEvent) => boolean;
  readonly resolve: (event: HostEvent) => void;
}

/** What the processes of a fleet say, in the order in which it is read. */
export class EventLog {
  readonly #events: HostEvent[] = [];
  readonly #waiting = new Set<Waiting>();

  /** Takes one line of JSON in; lines that are none are no events. */
  take(host: string, line: string): void {
    const fields = parsed(line);
    if (fields === undefined) return;
    const { event, time } = fields;
    if (typeof event !== "string") return;
    const hostMs = typeof time === "string" ? Date.parse(time) : Number.NaN;
    const taken = { host, atMs: performance.now(), hostMs, event, fields };
    this.#events.push(taken);
    for (const waiting of this.#waiting) if (waiting.matches(taken)) waiting.resolve(taken);
  }

  since(atMs: number): HostEvent[] {
    return this.#events.filter((event) => event.atMs >= atMs);
  }

  /** The first event from `sinceMs` on that matches; undefined when none comes within the time. */
  async first(
    sinceMs: number,
    withinMs: number,
    matches: (event: HostEvent) => boolean,
  ): Promise<HostEvent | undefined> {
    const known = this.since(sinceMs).find(matches);
    if (known !== undefined) return known;
    return new Promise((resolve) => {
      const waiting: Waiting = { matches, resolve: (event) => end(event) };
      const timer = setTimeout(() => end(undefined), Math.max(0, sinceMs + withinMs - performance.now()));
      const end = (event: HostEvent | undefined): void => {
        clearTimeout(timer);
        this.#waiting.delete(waiting);
        resolve(event);
      };
      this.#waiting.add(waiting);
    });
  }
}

function parsed(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
