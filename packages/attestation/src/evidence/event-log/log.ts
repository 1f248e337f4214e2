/**
 * TCG event logs in the crypto-agile form (TCG PC Client Platform Firmware Profile §10.2), as TDX guests keep
 * them in the CCEL table: what was measured into which register.
 */
import { equalBytes, sha384 } from "@cloister/core";
import { Reader } from "../../reader.ts";

export interface LogEvent {
  /** Measurement register: 0 is MRTD, n + 1 is RTMR n. */
  readonly register: number;
  readonly type: number;
  /** The name of the type, or its number in hex. */
  readonly typeName: string;
  /** SHA-384. */
  readonly digest: Uint8Array;
  readonly data: Uint8Array;
  /** Whether the digest is that of the data: then the data are proven with the register, if that is an RTMR. */
  readonly dataBound: boolean;
}

const CODE = "EVENT_LOG_MALFORMED";
const LOG_BYTES_MAX = 4 * 1024 * 1024;
const EVENTS_MAX = 20_000;
const SHA384 = 0x0c;
const DIGEST_BYTES = 48;
export const EV_NO_ACTION = 3;
const SPEC_ID = "Spec ID Event03\0";
const ALGORITHMS_MAX = 8;

const TYPES: Readonly<Record<number, string>> = {
  1: "EV_POST_CODE",
  3: "EV_NO_ACTION",
  4: "EV_SEPARATOR",
  5: "EV_ACTION",
  6: "EV_EVENT_TAG",
  7: "EV_S_CRTM_CONTENTS",
  8: "EV_S_CRTM_VERSION",
  9: "EV_CPU_MICROCODE",
  0xa: "EV_PLATFORM_CONFIG_FLAGS",
  0xb: "EV_TABLE_OF_DEVICES",
  0xc: "EV_COMPACT_HASH",
  0xd: "EV_IPL",
  0xe: "EV_IPL_PARTITION_DATA",
  0x80000001: "EV_EFI_VARIABLE_DRIVER_CONFIG",
  0x80000002: "EV_EFI_VARIABLE_BOOT",
  0x80000003: "EV_EFI_BOOT_SERVICES_APPLICATION",
  0x80000004: "EV_EFI_BOOT_SERVICES_DRIVER",
  0x80000005: "EV_EFI_RUNTIME_SERVICES_DRIVER",
  0x80000006: "EV_EFI_GPT_EVENT",
  0x80000007: "EV_EFI_ACTION",
  0x80000008: "EV_EFI_PLATFORM_FIRMWARE_BLOB",
  0x80000009: "EV_EFI_HANDOFF_TABLES",
  0x8000000a: "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
  0x8000000b: "EV_EFI_HANDOFF_TABLES2",
  0x8000000c: "EV_EFI_VARIABLE_BOOT2",
  0x800000e0: "EV_EFI_VARIABLE_AUTHORITY",
};

/**
 * Reads a log: the events after its header. Padding of zeros or ones at the end is what is left of the table.
 * @throws {CloisterError} `EVENT_LOG_MALFORMED`
 */
export function parseEventLog(bytes: Uint8Array): LogEvent[] {
  const reader = new Reader(bytes, CODE);
  if (bytes.length > LOG_BYTES_MAX) throw reader.malformed("it is larger than any log");
  const sizes = readHeader(reader);
  const events: LogEvent[] = [];
  while (reader.left > 0 && !isPadding(bytes.subarray(reader.at))) {
    if (events.length >= EVENTS_MAX) throw reader.malformed("it has too many events");
    events.push(readEvent(reader, sizes));
  }
  return events;
}

/** The first event is in the old form and names the digests' sizes. */
function readHeader(reader: Reader): ReadonlyMap<number, number> {
  reader.u32le();
  if (reader.u32le() !== EV_NO_ACTION) throw reader.malformed("it does not begin with its specification");
  reader.take(20);
  const header = new Reader(reader.take(reader.u32le()), CODE);
  if (String.fromCharCode(...header.take(16)) !== SPEC_ID)
    throw reader.malformed("it is not in the crypto-agile form");
  header.take(8);
  const count = header.u32le();
  if (count === 0 || count > ALGORITHMS_MAX) throw header.malformed("it names no algorithms, or too many");
  const sizes = new Map<number, number>();
  for (let i = 0; i < count; i++) sizes.set(header.u16le(), header.u16le());
  if (sizes.get(SHA384) !== DIGEST_BYTES) throw header.malformed("it has no SHA-384 digests");
  header.take(header.u8());
  return sizes;
}

function readEvent(reader: Reader, sizes: ReadonlyMap<number, number>): LogEvent {
  const register = reader.u32le();
  const type = reader.u32le();
  const count = reader.u32le();
  if (count === 0 || count > ALGORITHMS_MAX) throw reader.malformed("an event has no digests, or too many");
  let digest: Uint8Array | undefined;
  for (let i = 0; i < count; i++) {
    const algorithm = reader.u16le();
    const size = sizes.get(algorithm);
    if (size === undefined) throw reader.malformed("an event has a digest that the header does not name");
    const value = reader.take(size);
    if (algorithm === SHA384) digest = value;
  }
  const data = reader.take(reader.u32le());
  if (digest === undefined) throw reader.malformed("an event has no SHA-384 digest");
  const dataBound = equalBytes(sha384(data), digest);
  return { register, type, typeName: TYPES[type] ?? `0x${type.toString(16)}`, digest, data, dataBound };
}

function isPadding(rest: Uint8Array): boolean {
  const [first] = rest;
  return (first === 0 || first === 0xff) && rest.every((byte) => byte === first);
}
