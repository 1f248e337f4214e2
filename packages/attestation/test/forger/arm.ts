/**
 * A fake maker of Arm devices: CCA and PSA tokens in which any claim and any signature can be wrong.
 * Nothing of it is trusted unless `forgedArmRoots` is handed to `verify`.
 */
import { concat, encodeCanonical, sha256, utf8 } from "@cloister/core";
import {
  pinOf,
  toPem,
  nameOf,
  usageExtensions,
  type Endorsements,
  type Evidence,
  type TrustRoots,
} from "../../src/index.ts";
import { forgeCertificate } from "./certificates.ts";
import { forgedKey, type ForgedKey } from "./keys.ts";

const keys = {
  maker: forgedKey("Arm device maker", "P-384"),
  device: forgedKey("Arm device", "P-256"),
  platform: forgedKey("Arm CCA platform", "P-384"),
  realm: forgedKey("Arm realm", "P-384"),
  stranger: forgedKey("a stranger to Arm", "P-384"),
};
export const forgedArmKeys: Readonly<Record<keyof typeof keys, ForgedKey>> = keys;

/** Trust in each device's own key, and in the maker who certifies them. */
export const forgedArmRoots: TrustRoots = {
  simulated: false,
  pins: { arm: [keys.maker, keys.device, keys.platform].map(({ publicKey }) => pinOf(publicKey)) },
};

type ClaimTwists = ReadonlyMap<number, unknown>;

const COMPONENT = new Map<number, unknown>([
  [1, "BL"],
  [2, new Uint8Array(32).fill(0xb1)],
  [4, "1.0"],
  [5, new Uint8Array(32).fill(0x51)],
]);

/** A PSA token; `claims` replaces claims by label, and removes those that are undefined. */
export function forgePsa(
  forgery: {
    readonly claims?: ClaimTwists;
    readonly signedBy?: ForgedKey;
    readonly tag?: number;
    readonly certified?: boolean;
  } = {},
): { evidence: Evidence; endorsements: Endorsements } {
  const claims = twisted(
    [
      [265, "http://arm.com/psa/2.0.0"],
      [10, new Uint8Array(64).fill(0xdd)],
      [2396, new Uint8Array(32).fill(0x1d)],
      [256, instanceId()],
      [2395, 0x3000],
      [2399, [COMPONENT]],
      [2394, 1],
    ],
    forgery.claims,
  );
  const token = sign1(claims, forgery.signedBy ?? keys.device, -7);
  const bytes = concat(new Uint8Array([0xc0 | (forgery.tag ?? 18)]), token);
  const parts =
    forgery.certified === true ? { chain: makerChain(keys.device) } : { key: keys.device.publicKey.spki };
  return { evidence: { tee: "arm-psa", bytes }, endorsements: { tee: "arm-psa", parts } };
}

export interface CcaForgery {
  readonly platform?: ClaimTwists;
  readonly realm?: ClaimTwists;
  readonly platformSignedBy?: ForgedKey;
  readonly realmSignedBy?: ForgedKey;
  readonly certified?: boolean;
}

/** A CCA token of the current profile. */
export function forgeCca(forgery: CcaForgery = {}): { evidence: Evidence; endorsements: Endorsements } {
  const point = keys.realm.publicKey.raw;
  const realmKey = encodeCanonical(
    new Map<number, unknown>([
      [1, 2],
      [-1, 2],
      [-2, point.slice(1, 49)],
      [-3, point.slice(49)],
    ]),
  );
  const platform = twisted(
    [
      [265, "tag:arm.com,2023:cca_platform#1.0.0"],
      [10, sha256(realmKey)],
      [2396, new Uint8Array(32).fill(0x1d)],
      [256, instanceId()],
      [2401, new Uint8Array([1, 2, 3])],
      [2395, 0x3003],
      [2399, [COMPONENT]],
      [2402, "sha-256"],
    ],
    forgery.platform,
  );
  const measurement = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);
  const realm = twisted(
    [
      [265, "tag:arm.com,2023:realm#1.0.0"],
      [10, new Uint8Array(64).fill(0xdd)],
      [44235, new Uint8Array(64).fill(0x70)],
      [44238, measurement(0xaa)],
      [44239, [1, 2, 3, 4].map(measurement)],
      [44236, "sha-256"],
      [44237, realmKey],
      [44240, "sha-256"],
    ],
    forgery.realm,
  );
  const tagged = (token: Uint8Array): Uint8Array => concat(new Uint8Array([0xd2]), token);
  const collection = encodeCanonical(
    new Map([
      [44234, tagged(sign1(platform, forgery.platformSignedBy ?? keys.platform, -35))],
      [44241, tagged(sign1(realm, forgery.realmSignedBy ?? keys.realm, -35))],
    ]),
  );
  const parts =
    forgery.certified === true ? { chain: makerChain(keys.platform) } : { key: keys.platform.publicKey.spki };
  return {
    evidence: { tee: "arm-cca", bytes: concat(new Uint8Array([0xd9, 0x01, 0x8f]), collection) },
    endorsements: { tee: "arm-cca", parts },
  };
}

function makerChain(device: ForgedKey): Uint8Array {
  const maker = nameOf("Forged maker", "Forger");
  const leaf = forgeCertificate({
    ...{ serial: [2], issuer: maker, subject: nameOf("Forged device", "Forger") },
    ...{ key: device, by: keys.maker, extensions: usageExtensions({ authority: false }) },
  });
  const root = forgeCertificate({
    ...{ serial: [1], issuer: maker, subject: maker, key: keys.maker, by: keys.maker },
    extensions: usageExtensions({ authority: true, pathLengthMax: 1 }),
  });
  return utf8(toPem(leaf, root));
}

function instanceId(): Uint8Array {
  return concat(new Uint8Array([1]), new Uint8Array(32).fill(0x1e));
}

function twisted(
  claims: readonly (readonly [number, unknown])[],
  twists: ClaimTwists = new Map(),
): Map<number, unknown> {
  return new Map(
    [...claims, ...twists].filter(
      ([label, value]) => value !== undefined && (twists.get(label) !== undefined || !twists.has(label)),
    ),
  );
}

function sign1(claims: ReadonlyMap<number, unknown>, signer: ForgedKey, algorithm: number): Uint8Array {
  const header = encodeCanonical(new Map([[1, algorithm]]));
  const payload = encodeCanonical(claims);
  const signature = signer.sign(encodeCanonical(["Signature1", header, new Uint8Array(0), payload]));
  return encodeCanonical([header, new Map(), payload, signature]);
}
