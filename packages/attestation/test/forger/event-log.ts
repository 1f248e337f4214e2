/** Event logs of a TD, as firmware writes them. */
import { concat, sha384, utf8 } from "@cloister/core";

export interface ForgedEvent {
  readonly register: number;
  readonly type?: number;
  readonly data: Uint8Array;
  /** Default: that of the data. */
  readonly digest?: Uint8Array;
}

/** Writes a log with SHA-384 digests, and what follows its last event. */
export function forgeEventLog(events: readonly ForgedEvent[], padding = new Uint8Array(0)): Uint8Array {
  const specification = concat(
    utf8("Spec ID Event03\0"),
    new Uint8Array(8),
    u32(1),
    u16(0x0c),
    u16(48),
    new Uint8Array(1),
  );
  const header = concat(u32(1), u32(3), new Uint8Array(20), u32(specification.length), specification);
  const written = events.map(({ register, type = 6, data, digest = sha384(data) }) =>
    concat(u32(register), u32(type), u32(1), u16(0x0c), digest, u32(data.length), data),
  );
  return concat(header, ...written, padding);
}

function u16(value: number): Uint8Array {
  return new Uint8Array([value & 0xff, value >> 8]);
}

function u32(value: number): Uint8Array {
  return concat(u16(value & 0xffff), u16(value >>> 16));
}
