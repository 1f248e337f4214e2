import type { PublicKey } from "../../public-key.ts";
import type { TrustRoots } from "../../types.ts";
import { pinOf, type Certificate } from "../../x509.ts";
import { parseAnyPublicKey } from "../cose.ts";
import type { Findings } from "../findings.ts";
import { judgePath } from "../path.ts";

/** Members of `Endorsements.parts` for Arm PSA and CCA: one of `key` and `chain`. */
export interface ArmParts {
  /** The device's public key: JWK, COSE_Key, or SubjectPublicKeyInfo in PEM or DER. It must itself be a trusted root. */
  readonly key?: Uint8Array;
  /** Certificates of the device's key, leaf first, up to a trusted root. */
  readonly chain?: Uint8Array;
  /** Revocation lists for `chain`. */
  readonly crl?: Uint8Array;
}

export interface ArmKey {
  readonly publicKey: PublicKey;
  readonly rootFingerprint: string;
  readonly revocationChecked: boolean;
}

/**
 * Finds the key that a token must be signed with, and judges why to trust it. Arm has no root of its own:
 * each maker publishes its devices' keys or certifies them.
 */
export function judgeArmKey(
  findings: Findings,
  parts: ArmParts,
  nowMs: number,
  roots: TrustRoots,
): ArmKey | undefined {
  const pins = roots.pins.arm ?? [];
  const { key, chain, crl } = parts;
  if (key !== undefined) {
    const publicKey = findings.attempt("ARM_KEY_MALFORMED", () => parseAnyPublicKey(key));
    if (publicKey === undefined) return undefined;
    findings.check(
      pins.includes(pinOf(publicKey)),
      "ARM_ROOT_UNKNOWN",
      "The device's key is not one that is trusted here.",
    );
    return { publicKey, rootFingerprint: pinOf(publicKey), revocationChecked: false };
  }
  if (chain === undefined) {
    findings.fail("ARM_KEY_MISSING", "The endorsements hold neither the device's key nor its certificates.");
    return undefined;
  }
  const judgement = findings.attempt("ARM_CHAIN_MALFORMED", () =>
    judgePath({
      leaf: chain,
      others: [],
      crls: crl === undefined ? [] : [crl],
      roots: pins,
      nowMs,
      prefix: "ARM",
      what: "the device's chain",
    }),
  );
  if (judgement === undefined) return undefined;
  findings.refusals.push(...judgement.refusals);
  const { path, revocationChecked } = judgement;
  return {
    publicKey: (path[0] as Certificate).publicKey,
    rootFingerprint: pinOf((path.at(-1) as Certificate).publicKey),
    revocationChecked,
  };
}
