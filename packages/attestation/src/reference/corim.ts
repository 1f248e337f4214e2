/** Import of CoRIM (draft-ietf-rats-corim): what vendors and builders publish as reference values. */
import { CloisterError, fromHex, toHex, type Digest } from "@cloister/core";
import { CborTag, decodeCbor, type CborItem } from "../evidence/cbor.ts";
import { parseCose, verifyCose } from "../evidence/cose.ts";
import { dcapMeasurement } from "../evidence/dcap/index.ts";
import { snpMeasurement } from "../measure/snp.ts";
import { assertTime, isWithin } from "../time.ts";
import type { PublicKey } from "../public-key.ts";

const TAG_UNSIGNED_CORIM = 501;
const TAG_SIGN1 = 18;
/** Wrappers of earlier drafts: any CoRIM, a signed CoRIM. */
const TAG_WRAPPERS: ReadonlySet<number> = new Set([500, 502]);
const TAG_COMID = 506;
const REFERENCE_TRIPLES = 0;
const FLAG_IS_DEBUG = 3;
const HASHES: ReadonlyMap<CborItem, string> = new Map([
  [1, "sha-256"],
  [7, "sha-384"],
  [8, "sha-512"],
]);

/** One measurement of one environment. */
export interface CorimMeasurement {
  /** What was measured, as the profile names it: `mrTd`, a register number, an OID's hex. */
  readonly key: string | undefined;
  readonly digests: readonly { readonly algorithm: string; readonly hex: string }[];
  readonly rawValue?: string;
  readonly svn?: number;
  readonly version?: string;
}

/** What a CoRIM says about one environment. */
export interface CorimReference {
  readonly vendor: string | undefined;
  readonly model: string | undefined;
  /** Lower-case hex of bytes, or the text. */
  readonly classId: string | undefined;
  readonly measurements: readonly CorimMeasurement[];
}

/**
 * Reads the reference triples of a CoRIM. With `signer` it must be signed by that key; without, its content is
 * only as good as where it came from, and becomes reference values when builders sign it.
 * @throws {CloisterError} `CORIM_MALFORMED`, `CORIM_SIGNATURE_INVALID`, `CORIM_EXPIRED`, `CORIM_DEBUG` (debug builds
 * cannot be reference values)
 */
export function importCorim(
  bytes: Uint8Array,
  options: { readonly signer?: PublicKey; readonly nowMs: number },
): CorimReference[] {
  assertTime(options.nowMs);
  const corim = asMap(openCorim(bytes, options.signer), "it");
  checkValidity(corim.get(4), options.nowMs);
  return asArray(corim.get(1), "its tags").flatMap((tag) => {
    if (!(tag instanceof CborTag) || tag.tag !== TAG_COMID) return [];
    const comid = asMap(tag.item instanceof Uint8Array ? decode(tag.item) : tag.item, "a CoMID");
    const triples = asMap(comid.get(4), "a CoMID's triples").get(REFERENCE_TRIPLES);
    return triples === undefined ? [] : asArray(triples, "the reference triples").map(readTriple);
  });
}

/**
 * The digest by which claims name what a reference measured; undefined when it lacks a register that the kind needs.
 * TDX and SGX: measurements keyed by the names of `Claims.measurements`. SEV-SNP: one SHA-384 digest, keyed as the
 * launch digest or not at all; digests of keys and the like are not what runs.
 */
export function measurementOfCorim(
  tee: "tdx" | "sgx" | "sev-snp",
  { measurements }: CorimReference,
): Digest | undefined {
  if (tee === "sev-snp") {
    const digests = measurements
      .filter(({ key }) => key === undefined || key === SNP_MEASUREMENT)
      .flatMap((one) => one.digests)
      .filter(({ algorithm }) => algorithm === "sha-384");
    const [only] = digests;
    return only === undefined || digests.length !== 1 ? undefined : snpMeasurement(fromHex(only.hex));
  }
  const names = tee === "tdx" ? TDX_REGISTERS : SGX_REGISTERS;
  const values = names.map((name) => {
    const found = measurements.find(({ key }) => key === name);
    return [name, found?.rawValue ?? found?.digests[0]?.hex] as const;
  });
  if (values.some(([, hex]) => hex === undefined)) return undefined;
  return dcapMeasurement(tee, Object.fromEntries(values) as Record<string, string>);
}

/** The launch digest's number among measurements (draft-deeglaze-amd-sev-snp-corim-profile). */
const SNP_MEASUREMENT = "641";
const TDX_REGISTERS = ["mrTd", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mrConfigId", "mrOwner", "mrOwnerConfig"];
const SGX_REGISTERS = ["mrEnclave", "mrSigner", "isvProdId", "isvSvn"];

function openCorim(bytes: Uint8Array, signer: PublicKey | undefined): CborItem {
  let item = decode(bytes);
  while (item instanceof CborTag && TAG_WRAPPERS.has(item.tag)) item = item.item;
  if (item instanceof CborTag && item.tag === TAG_UNSIGNED_CORIM) {
    if (signer !== undefined) throw new CloisterError("CORIM_SIGNATURE_INVALID", "The CoRIM is not signed.");
    return item.item;
  }
  if (!(item instanceof CborTag) || item.tag !== TAG_SIGN1) throw malformed("it has no CoRIM's tag");
  const message = parseCose(signedPart(bytes));
  if (signer !== undefined && !verifyCose(message, signer)) {
    throw new CloisterError("CORIM_SIGNATURE_INVALID", "The CoRIM was not signed by the key that was given.");
  }
  const payload = decode(message.payload);
  if (!(payload instanceof CborTag) || payload.tag !== TAG_UNSIGNED_CORIM)
    throw malformed("its payload is no CoRIM");
  return payload.item;
}

/** What is left without the wrappers' heads (`d9 01 f4`, `d9 01 f6`). */
function signedPart(bytes: Uint8Array): Uint8Array {
  let at = 0;
  while (bytes[at] === 0xd9) at += 3;
  return bytes.subarray(at);
}

function checkValidity(validity: CborItem, nowMs: number): void {
  if (validity === undefined) return;
  const time = (item: CborItem): number | undefined => {
    const value = item instanceof CborTag ? item.item : item;
    return typeof value === "number" ? value * 1000 : undefined;
  };
  const [notBeforeMs, notAfterMs] = [0, 1].map((key) => time(asMap(validity, "its validity").get(key)));
  if (!isWithin(nowMs, notBeforeMs ?? 0, notAfterMs ?? Number.NaN)) {
    throw new CloisterError("CORIM_EXPIRED", `The CoRIM does not cover ${new Date(nowMs).toISOString()}.`);
  }
}

function readTriple(triple: CborItem): CorimReference {
  const [environment, measurements] = asArray(triple, "a triple");
  const kind = asMap(environment, "an environment").get(0);
  const named = kind === undefined ? new Map<number, CborItem>() : asMap(kind, "a class");
  return {
    vendor: optionalText(named.get(1)),
    model: optionalText(named.get(2)),
    classId: nameOfKey(named.get(0)),
    measurements: asArray(measurements, "a triple's measurements").flatMap(readMeasurement),
  };
}

function readMeasurement(item: CborItem): CorimMeasurement[] {
  const measurement = asMap(item, "a measurement");
  const values = asMap(measurement.get(1), "a measurement's values");
  const flags = values.get(3);
  if (flags !== undefined && asMap(flags, "flags").get(FLAG_IS_DEBUG) === true) {
    throw new CloisterError(
      "CORIM_DEBUG",
      "The CoRIM lists a debug build, which can never be a reference value.",
    );
  }
  const key = nameOfKey(measurement.get(0));
  const registers = values.get(14);
  const own: CorimMeasurement = { key, digests: readDigests(values.get(2)), ...readVersions(values) };
  if (registers === undefined) return [own];
  const ofRegisters = [...asMap(registers, "integrity registers")].map(([register, digests]) => ({
    key: String(register),
    digests: readDigests(digests),
  }));
  return own.digests.length === 0 ? ofRegisters : [own, ...ofRegisters];
}

function readVersions(values: ReadonlyMap<unknown, CborItem>): Omit<CorimMeasurement, "key" | "digests"> {
  const svnItem = values.get(1);
  const svn = svnItem instanceof CborTag ? svnItem.item : svnItem;
  const raw = values.get(4);
  const rawBytes = raw instanceof CborTag ? raw.item : raw;
  const version = values.get(0);
  const text = version instanceof Map ? version.get(0) : undefined;
  return {
    ...(typeof svn === "number" ? { svn } : {}),
    ...(rawBytes instanceof Uint8Array ? { rawValue: toHex(rawBytes) } : {}),
    ...(typeof text === "string" ? { version: text } : {}),
  };
}

function readDigests(item: CborItem): CorimMeasurement["digests"] {
  if (item === undefined) return [];
  return asArray(item, "digests").map((digest) => {
    const [algorithm, value] = asArray(digest, "a digest");
    const name = typeof algorithm === "string" ? algorithm : HASHES.get(algorithm);
    if (name === undefined || !(value instanceof Uint8Array))
      throw malformed("a digest is of no known algorithm");
    return { algorithm: name, hex: toHex(value) };
  });
}

function nameOfKey(item: CborItem): string | undefined {
  const value = item instanceof CborTag ? item.item : item;
  if (value instanceof Uint8Array) return toHex(value);
  return typeof value === "string" || typeof value === "number" ? String(value) : undefined;
}

function optionalText(item: CborItem): string | undefined {
  return typeof item === "string" ? item : undefined;
}

function decode(bytes: Uint8Array): CborItem {
  try {
    return decodeCbor(bytes);
  } catch (cause) {
    throw new CloisterError("CORIM_MALFORMED", `The CoRIM is malformed: ${(cause as Error).message}`, {
      cause,
    });
  }
}

function asMap(item: CborItem, what: string): ReadonlyMap<number | bigint | string, CborItem> {
  if (!(item instanceof Map)) throw malformed(`${what} is no map`);
  return item;
}

function asArray(item: CborItem, what: string): CborItem[] {
  if (!Array.isArray(item)) throw malformed(`${what} is no array`);
  return item;
}

function malformed(why: string): CloisterError {
  return new CloisterError("CORIM_MALFORMED", `The CoRIM is malformed: ${why}.`);
}
