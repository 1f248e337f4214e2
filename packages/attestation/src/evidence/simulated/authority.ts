/**
 * The simulation's vendor. Its keys are public on purpose: anybody can compute them from a text, so
 * nobody can take what rests on them for hardware. Everything it signs is in the vendors' true formats,
 * and is judged by the vendors' verifier under `simulationRoots`. DESIGN: "Simulated is another world".
 */
import { ecdsaPublicKey, ecdsaSign, sha256, utf8 } from "@cloister/core";
import { publicKeyFrom, type PublicKey } from "../../public-key.ts";
import type { TrustRoots } from "../../types.ts";
import {
  buildCertificate,
  nameOf,
  pinOf,
  usageExtensions,
  type CertificateFields,
  type Issuer,
} from "../../x509.ts";

export const ORGANIZATION = "Cloister SIMULATION: proves nothing about hardware";
/** Everything the simulation issues holds from 2020 to the end of 2049. */
export const NOT_BEFORE_MS = Date.UTC(2020, 0, 1);
export const NOT_AFTER_MS = Date.UTC(2049, 11, 31);

/** A key of the simulation: anybody who reads this file has it. */
export interface SimulationKey {
  readonly secret: Uint8Array;
  readonly publicKey: PublicKey;
  readonly issuer: Issuer;
}

/** The P-256 key that a text stands for. */
export function simulationKey(text: string): SimulationKey {
  return keyFromSecret(sha256(utf8(`cloister simulation, public on purpose: ${text}`)));
}

export function keyFromSecret(secret: Uint8Array): SimulationKey {
  return {
    secret,
    publicKey: publicKeyFrom("P-256", ecdsaPublicKey("P-256", secret)),
    issuer: { scheme: { kind: "ecdsa", hash: "sha256" }, sign: (tbs) => ecdsaSign("P-256", secret, tbs) },
  };
}

/** The P-384 key of 48 secret bytes: what AMD's chips sign with. */
export function keyP384FromSecret(secret: Uint8Array): SimulationKey {
  return {
    secret,
    publicKey: publicKeyFrom("P-384", ecdsaPublicKey("P-384", secret)),
    issuer: { scheme: { kind: "ecdsa", hash: "sha384" }, sign: (tbs) => ecdsaSign("P-384", secret, tbs) },
  };
}

export const rootKey = simulationKey("root");
export const rootName = nameOf("Simulation Root CA", ORGANIZATION);

/** The simulation's root certificate, self-signed. */
export const rootCertificate = certify("root", rootName, rootKey.publicKey, {
  by: { key: rootKey, name: rootName },
  extensions: usageExtensions({ authority: true, pathLengthMax: 1 }),
});

/** The explicit trust root that simulated evidence needs. No policy for hardware ever contains it. */
export const simulationRoots: TrustRoots = {
  simulated: true,
  pins: { intel: [pinOf(rootKey.publicKey)], amd: [pinOf(rootKey.publicKey)] },
};

/** Issues a certificate of the simulation; the serial number follows from `label`. */
export function certify(
  label: string,
  subject: Uint8Array,
  publicKey: PublicKey,
  options: {
    readonly by: { readonly key: SimulationKey; readonly name: Uint8Array };
    readonly extensions: CertificateFields["extensions"];
  },
): Uint8Array {
  const fields = {
    serial: sha256(utf8(label)).slice(0, 16),
    issuer: options.by.name,
    subject,
    notBeforeMs: NOT_BEFORE_MS,
    notAfterMs: NOT_AFTER_MS,
    publicKey,
    extensions: options.extensions,
  };
  return buildCertificate(fields, options.by.key.issuer);
}
