import { ecdsaPublicKey, ecdsaSign, sha256, sha384, utf8 } from "@cloister/core";
import { publicKeyFrom, type Issuer, type PublicKey } from "../../src/index.ts";

/** A key of a fake vendor. */
export interface ForgedKey {
  readonly publicKey: PublicKey;
  readonly issuer: Issuer;
  sign(message: Uint8Array): Uint8Array;
}

/** The key that a text stands for. */
export function forgedKey(text: string, curve: "P-256" | "P-384" = "P-256"): ForgedKey {
  const secret = (curve === "P-256" ? sha256 : sha384)(utf8(`forger: ${text}`));
  const sign = (message: Uint8Array): Uint8Array => ecdsaSign(curve, secret, message);
  return {
    publicKey: publicKeyFrom(curve, ecdsaPublicKey(curve, secret)),
    issuer: { scheme: { kind: "ecdsa", hash: curve === "P-256" ? "sha256" : "sha384" }, sign },
    sign,
  };
}
