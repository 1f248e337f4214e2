/** Units as people read them. Values inside the code stay in the base unit that their name ends in. */

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** Writes a size in binary units: `1.5 MiB`. */
export function formatBytes(sizeBytes: number): string {
  let value = sizeBytes;
  let unit = 0;
  while (value >= 1024 && unit < BYTES.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${BYTES[unit]}`;
}

/** Writes a duration: `820 ms`, `12.3 s`, `4 min 05 s`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1000) return `${Math.round(durationMs)} ms`;
  if (durationMs < 60_000) return `${(durationMs / 1000).toFixed(1)} s`;
  const seconds = Math.round(durationMs / 1000);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
}

/** Writes wei as ether without losing a unit: `1.5`, `0.000000000000000001`. */
export function formatEther(amountWei: bigint): string {
  const sign = amountWei < 0n ? "-" : "";
  const digits = (amountWei < 0n ? -amountWei : amountWei).toString().padStart(19, "0");
  const fraction = digits.slice(-18).replace(/0+$/, "");
  return `${sign}${digits.slice(0, -18)}${fraction === "" ? "" : `.${fraction}`}`;
}

/** Reads a date or a time in UTC (RFC 3339 with `Z`) as milliseconds; undefined for a day that no calendar has. */
export function parseUtc(text: string): number | undefined {
  const timeMs = /^\d{4}-\d\d-\d\d(T[\d:.]+Z)?$/.test(text) ? Date.parse(text) : NaN;
  // Date.parse takes the 31st of February for the 3rd of March.
  const isReal = !Number.isNaN(timeMs) && new Date(timeMs).toISOString().startsWith(text.slice(0, 10));
  return isReal ? timeMs : undefined;
}
