import type { RecordStore } from "@cloister/core";

/** Records in memory. `failAfter` makes the write that comes so many writes later fail, as a full disk does. */
export class MemoryRecords implements RecordStore {
  readonly records = new Map<string, Uint8Array>();
  failAfter = Number.POSITIVE_INFINITY;

  read(name: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.records.get(name));
  }

  write(name: string, record: Uint8Array): Promise<void> {
    if (this.failAfter-- <= 0) return Promise.reject(new Error("no space left on device"));
    this.records.set(name, record.slice());
    return Promise.resolve();
  }

  delete(name: string): Promise<void> {
    this.records.delete(name);
    return Promise.resolve();
  }

  list(prefix: string): Promise<string[]> {
    return Promise.resolve([...this.records.keys()].filter((name) => name.startsWith(prefix)).toSorted());
  }
}
