import { readdirSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Metric } from "@cloister/node";

const NANOSECONDS = 1e9;

/** What the operating system says of this process, under the names that Prometheus' own clients use. */
export function processMetrics(): () => Metric[] {
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  const startSeconds = Date.now() / 1000 - process.uptime();
  return () => {
    const lagSeconds = Number.isNaN(delay.mean) ? 0 : delay.mean / NANOSECONDS;
    const worstSeconds = delay.max / NANOSECONDS;
    delay.reset();
    const fds = openFiles();
    return [
      gauge("process_start_time_seconds", "When the process started, in seconds since 1970.", startSeconds),
      {
        name: "process_cpu_seconds_total",
        help: "Processor time that the process took, in user and system mode.",
        type: "counter",
        samples: [{ value: cpuSeconds() }],
      },
      gauge("process_resident_memory_bytes", "Memory that the process holds.", process.memoryUsage.rss()),
      ...(fds === undefined ? [] : [gauge("process_open_fds", "Files and sockets that are open.", fds)]),
      gauge(
        "cloister_event_loop_lag_seconds",
        "How late the process came to its work, on average since the last scrape.",
        lagSeconds,
      ),
      gauge(
        "cloister_event_loop_lag_max_seconds",
        "How late the process came to its work, at worst since the last scrape.",
        worstSeconds,
      ),
    ];
  };
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function openFiles(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}

function gauge(name: string, help: string, value: number): Metric {
  return { name, help, type: "gauge", samples: [{ value }] };
}
