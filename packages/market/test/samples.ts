import { digestOf, fromHex, utf8, type Address, type Hex32 } from "@cloister/core";
import { keccak256 } from "viem/utils";
import {
  addressOfSecret,
  NATIVE_TOKEN,
  ZERO_HEX32,
  type Deployment,
  type Offer,
  type Order,
} from "../src/index.ts";

export const DEPLOYMENT: Deployment = {
  chainId: 31_337,
  registry: `0x${"11".repeat(20)}` as Address,
  market: `0x${"22".repeat(20)}` as Address,
  log: `0x${"33".repeat(20)}` as Address,
  fromBlock: 0,
};

export function secretOf(name: string): Uint8Array {
  return fromHex(keccak256(utf8(name)));
}

export function accountOf(name: string): Address {
  return addressOfSecret(secretOf(name));
}

export function hexOf(name: string): Hex32 {
  return keccak256(utf8(name)) as Hex32;
}

export const OFFER: Offer = {
  owner: accountOf("station"),
  kind: "data",
  terms: {
    token: NATIVE_TOKEN,
    fixedWei: 100n,
    perSecondWei: 3n,
    bookingWei: 10n,
    poolMinWei: 0n,
    shareBps: 2500,
    secondsMin: 1,
    secondsMax: 60,
    runsMax: 5,
    validUntilSeconds: 2_000_000_000,
    accountsRoot: ZERO_HEX32,
  },
  content: {
    contentDigest: digestOf(utf8("content")),
    sealedDigest: digestOf(utf8("sealed")),
    headerDigest: digestOf(utf8("header")),
    salt: hexOf("salt"),
  },
};

export const ORDER: Order = {
  client: accountOf("client"),
  token: NATIVE_TOKEN,
  depositWei: 10_000n,
  poolWei: 1000n,
  computeFixedWei: 40n,
  computePerSecondWei: 2n,
  secondsMax: 60,
  deadlineSeconds: 1_900_000_000,
  offers: [hexOf("offer")],
  argsDigest: digestOf(utf8("args")),
  recipientDigest: digestOf(utf8("recipient")),
  goal: ZERO_HEX32,
  salt: 7n,
};
