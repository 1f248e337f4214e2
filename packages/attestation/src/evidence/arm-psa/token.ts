/** PSA attestation tokens: RFC 9783 (profile psa#tfm and 2.0.0) and the older PSA_IOT_PROFILE_1. */
import { CloisterError, toHex } from "@cloister/core";
import { CborClaims, decodeCbor, type CborItem } from "../cbor.ts";

/** One piece of software that was measured at boot. */
export interface PsaSoftware {
  readonly type: string | undefined;
  readonly value: Uint8Array;
  readonly version: string | undefined;
  readonly signerId: Uint8Array;
}

/** Claims of a PSA token, or of the platform token of CCA, which derives from it. */
export interface PsaClaims {
  readonly profile: string;
  readonly nonce: Uint8Array;
  readonly implementationId: Uint8Array;
  readonly instanceId: Uint8Array;
  readonly lifecycle: number;
  readonly software: readonly PsaSoftware[];
  readonly clientId: number | undefined;
  readonly bootSeed: Uint8Array | undefined;
  readonly certificationReference: string | undefined;
  readonly verificationService: string | undefined;
}

const CODE = "ARM_TOKEN_MALFORMED";
const SOFTWARE_MAX = 64;

/** Labels of RFC 9783 §4, and of the profile before it. */
const LABELS = {
  current: {
    profile: 265,
    nonce: 10,
    implementationId: 2396,
    instanceId: 256,
    lifecycle: 2395,
    software: 2399,
    clientId: 2394,
    bootSeed: 268,
    certification: 2398,
    service: 2400,
  },
  legacy: {
    profile: -75000,
    nonce: -75008,
    implementationId: -75003,
    instanceId: -75009,
    lifecycle: -75002,
    software: -75006,
    clientId: -75001,
    bootSeed: -75004,
    certification: -75005,
    service: -75010,
  },
} as const;
const LEGACY_NO_SOFTWARE = -75007;
const BOOT_SEED_2_0_0 = 2397;

const PROFILES = {
  current: [
    "http://arm.com/psa/2.0.0",
    "tag:psacertified.org,2023:psa#tfm",
    "tag:psacertified.org,2019:psa#legacy",
  ],
  legacy: ["PSA_IOT_PROFILE_1"],
};

/** Reads the claims of a PSA token. @throws {CloisterError} `ARM_TOKEN_MALFORMED`, `CBOR_MALFORMED` */
export function parsePsaClaims(payload: Uint8Array): PsaClaims {
  const claims = new CborClaims(decodeCbor(payload), CODE);
  const generation = claims.has(LABELS.legacy.nonce) ? "legacy" : "current";
  const label = LABELS[generation];
  // The older profile's tokens may leave its name out.
  const profile =
    generation === "legacy" && !claims.has(label.profile) ? "PSA_IOT_PROFILE_1" : claims.text(label.profile);
  if (!PROFILES[generation].includes(profile)) {
    throw new CloisterError(CODE, `The token's profile "${profile.slice(0, 80)}" is not known.`);
  }
  const withoutSoftware =
    generation === "legacy" && claims.has(LEGACY_NO_SOFTWARE) && !claims.has(label.software);
  const seed = generation === "current" && claims.has(BOOT_SEED_2_0_0) ? BOOT_SEED_2_0_0 : label.bootSeed;
  return {
    profile,
    nonce: claims.bytes(label.nonce, 32, 48, 64),
    implementationId: claims.bytes(label.implementationId, 32),
    instanceId: readInstanceId(claims, label.instanceId),
    lifecycle: readLifecycle(claims, label.lifecycle),
    software: withoutSoftware ? [] : readSoftware(claims, label.software),
    clientId: claims.integer(label.clientId),
    bootSeed: claims.has(seed) ? claims.bytes(seed) : undefined,
    certificationReference: claims.has(label.certification) ? claims.text(label.certification) : undefined,
    verificationService: claims.has(label.service) ? claims.text(label.service) : undefined,
  };
}

/** UEID of type RAND: 01 and 32 bytes. */
export function readInstanceId(claims: CborClaims, label: number): Uint8Array {
  const id = claims.bytes(label, 33);
  if (id[0] !== 1) throw claims.wrong(label);
  return id;
}

/** A state in the upper byte, 0 to 6, and an implementation's own detail in the lower. */
export function readLifecycle(claims: CborClaims, label: number): number {
  const lifecycle = claims.integer(label);
  if (lifecycle < 0 || (lifecycle & 0x0f00) !== 0 || lifecycle > 0x60ff) throw claims.wrong(label);
  return lifecycle;
}

export function readSoftware(claims: CborClaims, label: number): PsaSoftware[] {
  const components = claims.array(label);
  if (components.length === 0 || components.length > SOFTWARE_MAX) throw claims.wrong(label);
  return components.map((component: CborItem) => {
    const fields = new CborClaims(component, CODE);
    return {
      type: fields.has(1) ? fields.text(1) : undefined,
      value: fields.bytes(2, 32, 48, 64),
      version: fields.has(4) ? fields.text(4) : undefined,
      signerId: fields.bytes(5, 32, 48, 64),
    };
  });
}

/**
 * Whether the device is in any state but secured (30h): then its secrets may be in other hands, which is what
 * debug means to who relies on it. RFC 9783 §4.3.1
 */
export function isUnsecured(lifecycle: number): boolean {
  return lifecycle >> 8 !== 0x30;
}

export function describeSoftware(software: readonly PsaSoftware[]): Record<string, unknown>[] {
  return software.map(({ type, value, version, signerId }) => ({
    type,
    value: toHex(value),
    version,
    signerId: toHex(signerId),
  }));
}
