/** One sample of a metric, told apart by its labels. */
export interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/** One metric as Prometheus knows it; its samples are taken when somebody asks. */
export interface Metric {
  /** With its base unit and, for counters, `_total` at the end. */
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly samples?: readonly Sample[];
  /** Of a histogram: one distribution per set of labels. */
  readonly distributions?: readonly {
    readonly labels?: Readonly<Record<string, string>>;
    readonly histogram: HistogramView;
  }[];
}

export interface HistogramView {
  /** Upper bounds, ascending, and how many observations each bucket alone holds; one more for all above. */
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
}

/** Counts observations by size. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  observe(value: number): void {
    const place = this.#bounds.findIndex((bound) => value <= bound);
    const bucket = place < 0 ? this.#bounds.length : place;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sum += value;
  }

  view(): HistogramView {
    return { bounds: this.#bounds, counts: [...this.#counts], sum: this.#sum };
  }
}
