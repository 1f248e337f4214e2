import { toHex } from "@cloister/core";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { expect, test } from "vitest";
import { hpkeOpen, hpkeSchedule, hpkeSeal } from "../../src/release/hpke.ts";
import { generateIdentity } from "../../src/index.ts";
import { entropy } from "./group.ts";

/** RFC 9180 §A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode. */
const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const info = hex("4f6465206f6e2061204772656369616e2055726e");
const ephemeral = hex("f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600");
const encapsulated = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
const secret = hex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
const shared = hex("0bbe78490412b4bbea4812666f7916932b828bba79942424abb65244930d69a7");
const key = "ad2744de8e17f4ebba575b3f5f5a8fa1f69c2a07f6e7500bc60ca6e3e3ec1c91";
const nonce = "5c4d98150661b848853b547f";

test("the key schedule gives the specification's key and nonce", () => {
  const schedule = hpkeSchedule(0x0020, shared, info);
  expect([toHex(schedule.key), toHex(schedule.nonce)]).toEqual([key, nonce]);
});

test("a message is sealed under them", () => {
  const recipient = generateIdentity(() => secret).recipient.publicKey;
  const message = hpkeSeal(recipient, info, hex("c0ffee"), () => ephemeral);
  expect(toHex(message.subarray(0, 32))).toBe(encapsulated);
  expect(chacha20poly1305(hex(key), hex(nonce)).decrypt(message.subarray(32))).toEqual(hex("c0ffee"));
  expect(hpkeOpen(secret, info, message)).toEqual(hex("c0ffee"));
});

test("another key, another purpose or another byte opens nothing", () => {
  const recipient = generateIdentity(() => secret).recipient.publicKey;
  const message = hpkeSeal(recipient, info, hex("c0ffee"), entropy);
  expect(hpkeOpen(entropy(32), info, message)).toBeUndefined();
  expect(hpkeOpen(secret, hex("00"), message)).toBeUndefined();
  for (let at = 0; at < message.length; at++) {
    // The top bit of a u-coordinate is not part of it (RFC 7748 §5), but it is part of the key schedule.
    const changed = message.map((byte, i) => (i === at ? byte ^ 0x80 : byte));
    expect(hpkeOpen(secret, info, changed)).toBeUndefined();
  }
  expect(hpkeOpen(secret, info, message.subarray(0, 31))).toBeUndefined();
  expect(hpkeOpen(secret, info, new Uint8Array(64))).toBeUndefined();
});
