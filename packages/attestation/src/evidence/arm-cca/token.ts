/** Arm CCA tokens: a platform token and a realm token in one collection (draft-ffm-rats-cca-token; RMM A.7.2). */
import { CloisterError, sha256, sha384, sha512, toHex } from "@cloister/core";
import type { PublicKey } from "../../public-key.ts";
import {
  readInstanceId,
  readLifecycle,
  readSoftware,
  describeSoftware,
  type PsaSoftware,
} from "../arm-psa/token.ts";
import { CborClaims, CborTag, decodeCbor, type CborItem } from "../cbor.ts";
import { parseCose, parseCoseKey, parseRawPoint, type CoseMessage } from "../cose.ts";

const CODE = "ARM_TOKEN_MALFORMED";
const TAG_CCA = 399;
const TAG_CMW_COLLECTION = 907;
const PLATFORM = 44234;
const REALM = 44241;
const PLATFORM_PROFILES = ["http://arm.com/CCA-SSD/1.0.0", "tag:arm.com,2023:cca_platform#1.0.0"];
const REALM_PROFILE = "tag:arm.com,2023:realm#1.0.0";
const EXTENSIBLE_MEASUREMENTS = 4;

const HASHES: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>> = {
  "sha-256": sha256,
  "sha-384": sha384,
  "sha-512": sha512,
};

export interface CcaPlatform {
  readonly profile: string;
  /** Binds the realm's key: its hash. */
  readonly challenge: Uint8Array;
  readonly implementationId: Uint8Array;
  readonly instanceId: Uint8Array;
  readonly lifecycle: number;
  readonly config: Uint8Array;
  readonly hashAlgorithm: string;
  readonly software: readonly PsaSoftware[];
  readonly verificationService: string | undefined;
}

export interface CcaRealm {
  readonly profile: string | undefined;
  readonly challenge: Uint8Array;
  readonly personalization: Uint8Array;
  readonly initialMeasurement: Uint8Array;
  readonly extensibleMeasurements: readonly Uint8Array[];
  readonly hashAlgorithm: string;
  /** The realm's key as the claim holds it, which is what its hash is over. */
  readonly keyBytes: Uint8Array;
  readonly keyEncoding: "raw EC point" | "COSE_Key";
  readonly key: PublicKey;
  readonly keyHash: Uint8Array;
}

/** A token of both parts, read and judged by nobody yet. */
export interface CcaToken {
  readonly platformMessage: CoseMessage;
  readonly realmMessage: CoseMessage;
  readonly platform: CcaPlatform;
  readonly realm: CcaRealm;
}

/** Reads a token. @throws {CloisterError} `ARM_TOKEN_MALFORMED`, `COSE_MALFORMED`, `CBOR_MALFORMED` */
export function parseCcaToken(bytes: Uint8Array): CcaToken {
  const item = decodeCbor(bytes);
  if (!(item instanceof CborTag) || (item.tag !== TAG_CCA && item.tag !== TAG_CMW_COLLECTION)) {
    throw malformed("it is not tagged as a CCA token");
  }
  if (!(item.item instanceof Map)) throw malformed("it is not a collection");
  const platformMessage = parseCose(tokenOf(item.item.get(PLATFORM), "platform"));
  const realmMessage = parseCose(tokenOf(item.item.get(REALM), "realm"));
  return {
    platformMessage,
    realmMessage,
    platform: readPlatform(platformMessage.payload),
    realm: readRealm(realmMessage.payload),
  };
}

/** Bare bytes, or a record of the collection: content type and bytes. */
function tokenOf(member: CborItem, what: string): Uint8Array {
  const bytes = Array.isArray(member) ? member[1] : member;
  if (!(bytes instanceof Uint8Array)) throw malformed(`it holds no ${what} token`);
  return bytes;
}

function readPlatform(payload: Uint8Array): CcaPlatform {
  const claims = new CborClaims(decodeCbor(payload), CODE);
  const profile = claims.text(265);
  if (!PLATFORM_PROFILES.includes(profile))
    throw malformed(`the platform's profile "${profile.slice(0, 80)}" is not known`);
  return {
    profile,
    challenge: claims.bytes(10, 32, 48, 64),
    implementationId: claims.bytes(2396, 32),
    instanceId: readInstanceId(claims, 256),
    lifecycle: readLifecycle(claims, 2395),
    config: claims.bytes(2401),
    hashAlgorithm: readHashAlgorithm(claims, 2402),
    software: readSoftware(claims, 2399),
    verificationService: claims.has(2400) ? claims.text(2400) : undefined,
  };
}

function readRealm(payload: Uint8Array): CcaRealm {
  const claims = new CborClaims(decodeCbor(payload), CODE);
  const profile = claims.has(265) ? claims.text(265) : undefined;
  if (profile !== undefined && profile !== REALM_PROFILE) {
    throw malformed(`the realm's profile "${profile.slice(0, 80)}" is not known`);
  }
  const extensible = claims.array(44239);
  if (extensible.length !== EXTENSIBLE_MEASUREMENTS || !extensible.every(isMeasurement))
    throw claims.wrong(44239);
  const keyBytes = claims.bytes(44237);
  const hash = HASHES[readHashAlgorithm(claims, 44240)] as (bytes: Uint8Array) => Uint8Array;
  const isRaw = profile === undefined;
  return {
    profile,
    challenge: claims.bytes(10, 64),
    personalization: claims.bytes(44235, 64),
    initialMeasurement: claims.bytes(44238, 32, 48, 64),
    extensibleMeasurements: extensible,
    hashAlgorithm: readHashAlgorithm(claims, 44236),
    keyBytes,
    keyEncoding: isRaw ? "raw EC point" : "COSE_Key",
    key: isRaw ? parseRawPoint(keyBytes) : parseCoseKey(keyBytes),
    keyHash: hash(keyBytes),
  };
}

function isMeasurement(item: CborItem): item is Uint8Array {
  return item instanceof Uint8Array && [32, 48, 64].includes(item.length);
}

function readHashAlgorithm(claims: CborClaims, label: number): string {
  const name = claims.text(label);
  if (!Object.hasOwn(HASHES, name)) throw malformed(`the hash "${name.slice(0, 40)}" is not known`);
  return name;
}

/** What a reader wants to see of a token. */
export function describeCcaToken({ platform, realm }: CcaToken): Record<string, unknown> {
  return {
    platformProfile: platform.profile,
    implementationId: toHex(platform.implementationId),
    instanceId: toHex(platform.instanceId),
    lifecycle: platform.lifecycle,
    platformConfig: toHex(platform.config),
    platformHashAlg: platform.hashAlgorithm,
    platformChallenge: toHex(platform.challenge),
    swComponents: platform.software.length,
    software: describeSoftware(platform.software),
    verificationService: platform.verificationService,
    realmProfile: realm.profile,
    realmChallenge: toHex(realm.challenge),
    rim: toHex(realm.initialMeasurement),
    rem: realm.extensibleMeasurements.map(toHex),
    rpv: toHex(realm.personalization),
    realmHashAlg: realm.hashAlgorithm,
    realmKeyEncoding: realm.keyEncoding,
  };
}

function malformed(why: string): CloisterError {
  return new CloisterError(CODE, `The CCA token cannot be read: ${why}.`);
}
