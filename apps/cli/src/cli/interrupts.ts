/** What a person leaves behind who presses Ctrl-C: nothing. */

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
type Signal = (typeof SIGNALS)[number];

/** Thrown inside work that a signal ended, so that it cleans up as after any failure. */
class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/**
 * Runs work that can be stopped where it calls `check`: it then fails there, cleans up after itself, and the process
 * ends by the signal as if nobody had caught it. A second signal ends it at once.
 */
export async function interruptible<T>(work: (check: () => void) => Promise<T>): Promise<T> {
  let came: Signal | undefined;
  const release = catchSignals((signal) => {
    if (came !== undefined) pass(signal, release);
    came = signal;
  });
  const check = (): void => {
    if (came !== undefined) throw new Interrupted(`stopped by ${came}`);
  };
  try {
    return await work(check);
  } finally {
    release();
    if (came !== undefined) pass(came, release);
  }
}

/** Runs work that may hang where nothing can be checked; a signal has `clean` called, without waiting, and then ends the process. */
export async function cleaningUp<T>(clean: () => void, work: () => Promise<T>): Promise<T> {
  const release = catchSignals((signal) => {
    clean();
    pass(signal, release);
  });
  try {
    return await work();
  } finally {
    release();
  }
}

function catchSignals(came: (signal: Signal) => void): () => void {
  for (const signal of SIGNALS) process.on(signal, came);
  return () => {
    for (const signal of SIGNALS) process.removeListener(signal, came);
  };
}

/** Lets the signal do what it would have done. Who else listens for it was told already. */
function pass(signal: Signal, release: () => void): void {
  release();
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
}
