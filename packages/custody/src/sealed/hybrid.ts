import { utf8 } from "@cloister/core";
import { ml_kem768_x25519 as kem } from "@noble/post-quantum/hybrid.js";
import { aeadOpen, aeadSeal } from "./small.ts";
import { hpkeSchedule } from "../release/hpke.ts";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { encodeBech32 } from "./bech32.ts";
import type { Stanza } from "./header.ts";
import { firstUnwrapped, malformedStanza, type Identity, type Recipient } from "./recipients.ts";

/** HPKE's identifier of the KEM that joins ML-KEM-768 and X25519 (X-Wing). */
const KEM_ID = 0x647a;
const STANZA_TYPE = "mlkem768x25519";
const INFO = utf8(`age-encryption.org/${STANZA_TYPE}`);
const ENCAPSULATED_BYTES = 1120;
const WRAPPED_KEY_BYTES = 32;
const RANDOM_BYTES = 64;
export const HYBRID_PUBLIC_KEY_BYTES = 1216;

/** A hybrid identity, `AGE-SECRET-KEY-PQ-1…`: what is sealed to it stays secret as long as one of the two KEMs holds. */
export interface HybridIdentity extends Identity {
  readonly text: string;
  readonly recipient: Recipient;
}

/** The hybrid recipient of a 1216-byte public key: `age1pq1…`. It shares objects with others of its kind only. */
export function hybridRecipient(publicKey: Uint8Array): Recipient {
  return {
    text: encodeBech32("age1pq", publicKey),
    label: "postquantum",
    wrap: (fileKey, entropy) => {
      const { cipherText, sharedSecret } = kem.encapsulate(publicKey, entropy(RANDOM_BYTES));
      const { key, nonce } = hpkeSchedule(KEM_ID, sharedSecret, INFO);
      return [{ args: [STANZA_TYPE, encodeBase64(cipherText)], body: aeadSeal(key, nonce, fileKey) }];
    },
  };
}

/** The hybrid identity of a 32-byte seed. */
export function hybridIdentity(seed: Uint8Array): HybridIdentity {
  return {
    text: encodeBech32("age-secret-key-pq-", seed).toUpperCase(),
    recipient: hybridRecipient(kem.getPublicKey(seed)),
    unwrap: (stanzas) => firstUnwrapped(stanzas, (stanza) => unwrapHybrid(stanza, seed)),
  };
}

function unwrapHybrid(stanza: Stanza, seed: Uint8Array): Uint8Array | undefined {
  if (stanza.args[0] !== STANZA_TYPE) return undefined;
  const encapsulated = stanza.args.length === 2 ? decodeBase64(stanza.args[1] as string) : undefined;
  if (encapsulated?.length !== ENCAPSULATED_BYTES)
    throw malformedStanza(STANZA_TYPE, `it needs one share of ${ENCAPSULATED_BYTES} bytes`);
  if (stanza.body.length !== WRAPPED_KEY_BYTES)
    throw malformedStanza(STANZA_TYPE, "its body is not 32 bytes");
  let shared: Uint8Array;
  try {
    shared = kem.decapsulate(encapsulated, seed);
  } catch {
    throw malformedStanza(STANZA_TYPE, "its share is not one that an honest sender makes");
  }
  const { key, nonce } = hpkeSchedule(KEM_ID, shared, INFO);
  return aeadOpen(key, nonce, stanza.body);
}
