/** What must not outlive this process: children, namespaces, folders. */
const undos = new Set<() => void>();
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/**
 * Has something undone when this process ends, by itself, by an error or by a signal that can be caught; what came
 * last is undone first. `undo` must be done when it returns.
 *
 * @returns what to call once it needs no undoing any more
 */
export function atEnd(undo: () => void): () => void {
  if (undos.size === 0) listen();
  undos.add(undo);
  return () => void undos.delete(undo);
}

function listen(): void {
  if (process.listeners("exit").includes(undoAll)) return;
  process.on("exit", undoAll);
  for (const [signal, number] of Object.entries(SIGNALS))
    process.on(signal, () => process.exit(128 + number));
}

function undoAll(): void {
  for (const undo of [...undos].toReversed()) {
    undos.delete(undo);
    try {
      undo();
    } catch (error) {
      process.stderr.write(`could not clean up: ${error instanceof Error ? error.message : String(error)}\n`);
    }
  }
}
