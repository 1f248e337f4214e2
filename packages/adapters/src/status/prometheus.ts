import type { HistogramView, Metric } from "@cloister/node";

/** Renders metrics in Prometheus' text format, version 0.0.4: each family once, with its help and type. */
export function renderMetrics(metrics: readonly Metric[]): string {
  return metrics
    .flatMap((metric) => [
      `# HELP ${metric.name} ${escapeHelp(metric.help)}`,
      `# TYPE ${metric.name} ${metric.type}`,
      ...(metric.samples ?? []).map(({ labels, value }) => line(metric.name, labels ?? {}, value)),
      ...(metric.distributions ?? []).flatMap(({ labels, histogram }) => {
        return histogramLines(metric.name, labels ?? {}, histogram);
      }),
    ])
    .map((text) => `${text}\n`)
    .join("");
}

type Labels = Readonly<Record<string, string>>;

/** Buckets are cumulative on the wire; the last one is `+Inf` and equals the count. */
function histogramLines(name: string, labels: Labels, { bounds, counts, sum }: HistogramView): string[] {
  let seen = 0;
  const lines = counts.map((count, place) => {
    seen += count;
    const bound = bounds[place];
    return line(`${name}_bucket`, { ...labels, le: bound === undefined ? "+Inf" : number(bound) }, seen);
  });
  return [...lines, line(`${name}_sum`, labels, sum), line(`${name}_count`, labels, seen)];
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${number(value)}`;
}

function number(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
