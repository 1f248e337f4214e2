/**
 * How a large output reaches the disk: in slots, several on their way at once, past the page cache where the system
 * has it (O_DIRECT). Copying into that cache, finding pages for it and writing them back costs more than the cipher;
 * an output that is larger than memory would drive everything else out of it besides.
 */
import { constants, write as writeWithCallback } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { promisify } from "node:util";
import { codeOf } from "@cloister/core";
import type { SlotDigest, Slots } from "./output-digest.ts";

const write = promisify(writeWithCallback);

/** An output that is put together in slots. Whoever opens one settles it before the file is closed. */
export class OutputFile {
  readonly #file: FileHandle;
  readonly #slots: readonly Uint8Array[];
  readonly #digest: SlotDigest;
  #direct: FileHandle | undefined;
  readonly #writes: Promise<void>[] = [];
  #filled = 0;
  #usedBytes = 0;
  #writtenBytes = 0;

  private constructor(file: FileHandle, slots: readonly Uint8Array[], digest: SlotDigest) {
    this.#file = file;
    this.#slots = slots;
    this.#digest = digest;
  }

  /** Starts at the beginning of an empty file. */
  static async start(file: FileHandle, { slots, onPages }: Slots, digest: SlotDigest): Promise<OutputFile> {
    const output = new OutputFile(file, slots, digest);
    if (onPages) output.#direct = await openDirect(file);
    return output;
  }

  /** Adds bytes, which are copied before it returns or the promise, if there is one, is kept. */
  put(bytes: Uint8Array): Promise<void> | undefined {
    const slot = this.#slot();
    if (this.#usedBytes + bytes.length >= slot.length) return this.#putAcross(bytes);
    slot.set(bytes, this.#usedBytes);
    this.#usedBytes += bytes.length;
    return undefined;
  }

  /** Writes what is left, and says how much it was in all. */
  async end(): Promise<number> {
    if (this.#usedBytes > 0) await this.#commit();
    await Promise.all(this.#writes);
    await this.#digest.nextFree();
    this.#digest.commit(0);
    return this.#writtenBytes;
  }

  /** Waits for writes on their way, whatever became of them. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#writes);
    await this.#direct?.close();
  }

  #slot(): Uint8Array {
    return this.#slots[this.#filled % this.#slots.length] as Uint8Array;
  }

  async #putAcross(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + this.#slot().length - this.#usedBytes);
      this.#slot().set(part, this.#usedBytes);
      this.#usedBytes += part.length;
      at += part.length;
      if (this.#usedBytes === this.#slot().length) await this.#commit();
    }
  }

  async #commit(): Promise<void> {
    const written = this.#write(this.#slot(), this.#usedBytes, this.#writtenBytes);
    // It is waited for when the slot is wanted again, or at the end.
    written.catch(() => undefined);
    this.#writes[this.#filled % this.#slots.length] = written;
    this.#digest.commit(this.#usedBytes);
    this.#writtenBytes += this.#usedBytes;
    this.#usedBytes = 0;
    this.#filled++;
    await this.#writes[this.#filled % this.#slots.length];
    await this.#digest.nextFree();
  }

  async #write(slot: Uint8Array, lengthBytes: number, position: number): Promise<void> {
    let done = lengthBytes === slot.length ? await this.#writeDirect(slot, position) : 0;
    while (done < lengthBytes) {
      const rest = lengthBytes - done;
      done += (await write(this.#file.fd, slot, done, rest, position + done)).bytesWritten;
    }
  }

  /** What a disk refuses to read itself, for larger blocks than a page for instance, goes the ordinary way. */
  async #writeDirect(slot: Uint8Array, position: number): Promise<number> {
    if (this.#direct === undefined) return 0;
    try {
      return (await write(this.#direct.fd, slot, 0, slot.length, position)).bytesWritten;
    } catch (error) {
      if (codeOf(error) !== "EINVAL") throw error;
      return 0;
    }
  }
}

/** The same file once more, past the page cache; undefined where system, file system or sandbox have no such thing. */
async function openDirect(file: FileHandle): Promise<FileHandle | undefined> {
  if (constants.O_DIRECT === undefined) return undefined;
  return open(`/proc/self/fd/${file.fd}`, constants.O_WRONLY | constants.O_DIRECT).catch(() => undefined);
}
