import { webcrypto } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import pino from "pino";
import type { Clock, Entropy, Log } from "@cloister/core";
import type { Timers } from "@cloister/node";

/** The wall clock. */
export const systemClock: Clock = { nowMs: () => Date.now() };

/** Waiting in real time; a pending wait does not keep the process alive. */
export const systemTimers: Timers = { wait: (durationMs) => wait(durationMs, undefined, { ref: false }) };

/** The operating system's generator, read in the sizes that Web Crypto allows. */
export const systemEntropy: Entropy = (length) => {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) webcrypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
};

/** JSON lines on standard output or at the end of a file; `name` says which process speaks. */
export function jsonLog(name: string, file?: string): Log {
  const options = { base: { process: name }, timestamp: pino.stdTimeFunctions.isoTime };
  const logger = pino(
    options,
    pino.destination(file === undefined ? 1 : { dest: file, mkdir: true, append: true }),
  );
  return {
    info: (event, fields) => logger.info({ event, ...fields }),
    warn: (event, fields) => logger.warn({ event, ...fields }),
  };
}
