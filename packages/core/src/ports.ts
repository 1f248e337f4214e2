import type { Digest } from "./digest.ts";

/** Milliseconds since the Unix epoch. Pure code takes the number; only adapters and apps hold a clock. */
export interface Clock {
  nowMs(): number;
}

/** Uniformly random bytes from the platform's generator. */
export type Entropy = (length: number) => Uint8Array;

/** Structured log lines: an event name in kebab-case and flat fields. */
export interface Log {
  info(event: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void;
}

/**
 * Sealed objects by the digest of their bytes. A store is not trusted: readers check the digest.
 * `put` is atomic (a reader never sees half an object) and idempotent.
 */
export interface ObjectStore {
  readonly name: string;
  put(object: AsyncIterable<Uint8Array>): Promise<{ digest: Digest; sizeBytes: number }>;
  /** @throws {CloisterError} `OBJECT_NOT_FOUND` */
  get(digest: Digest, range?: { offset: number; length: number }): AsyncIterable<Uint8Array>;
  /** Undefined when the store does not hold it. */
  stat(digest: Digest): Promise<{ sizeBytes: number } | undefined>;
  list(): AsyncIterable<Digest>;
  delete(digest: Digest): Promise<void>;
}

/** Small named records that survive a crash: `write` returns only once the record is durable and whole. */
export interface RecordStore {
  read(name: string): Promise<Uint8Array | undefined>;
  write(name: string, record: Uint8Array): Promise<void>;
  delete(name: string): Promise<void>;
  /** Names that start with `prefix`, sorted. */
  list(prefix: string): Promise<string[]>;
}

/**
 * A Trusted Execution Environment as its guest sees it (RFC 9334: the attesting environment).
 * `evidence` binds 64 bytes chosen by the caller; `sealingKey` gives 32 bytes that only the same
 * measurement on the same hardware can have again.
 */
export interface Tee {
  readonly kind: "tdx" | "sev-snp" | "cca";
  readonly simulated: boolean;
  evidence(reportData: Uint8Array): Promise<Uint8Array>;
  sealingKey(context: string): Promise<Uint8Array>;
}
