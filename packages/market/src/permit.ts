import type { Address } from "@cloister/core";
import { encodeAbiParameters } from "viem/utils";
import { bytes } from "./call.ts";
import type { Deployment } from "./types.ts";

/** A token's holder lets the market take tokens, by signature (EIP-2612). */
export interface Permit {
  readonly valueWei: bigint;
  /** Seconds since 1970. */
  readonly deadlineSeconds: number;
  /** r ‖ s ‖ v of the holder over `permitTypedData`. */
  readonly signature: Uint8Array;
}

/** A token that takes permits, as its EIP-712 domain names it. */
export interface PermitToken {
  readonly address: Address;
  readonly name: string;
  readonly version: string;
}

const PERMIT_FIELDS = [
  { name: "owner", type: "address" },
  { name: "spender", type: "address" },
  { name: "value", type: "uint256" },
  { name: "nonce", type: "uint256" },
  { name: "deadline", type: "uint256" },
] as const;

const PERMIT_PARAMETERS = [
  { type: "uint256" },
  { type: "uint256" },
  { type: "uint8" },
  { type: "bytes32" },
  { type: "bytes32" },
] as const;

/** What a wallet is asked to sign (`eth_signTypedData_v4`) for a permit to the market. `nonce` is the token's. */
export function permitTypedData(
  deployment: Deployment,
  token: PermitToken,
  permit: Omit<Permit, "signature"> & { readonly owner: Address; readonly nonce: bigint },
) {
  return {
    domain: {
      name: token.name,
      version: token.version,
      chainId: deployment.chainId,
      verifyingContract: token.address,
    },
    types: { Permit: PERMIT_FIELDS },
    primaryType: "Permit",
    message: {
      owner: permit.owner,
      spender: deployment.market,
      value: permit.valueWei,
      nonce: permit.nonce,
      deadline: BigInt(permit.deadlineSeconds),
    },
  } as const;
}

/** A permit as the market takes it; nothing where there is none. */
export function encodePermit(permit: Permit | undefined): `0x${string}` {
  if (permit === undefined) return "0x";
  const { valueWei, deadlineSeconds, signature } = permit;
  const word = (from: number): `0x${string}` => bytes(signature.subarray(from, from + 32));
  return encodeAbiParameters(PERMIT_PARAMETERS, [
    valueWei,
    BigInt(deadlineSeconds),
    signature[64] ?? 0,
    word(0),
    word(32),
  ]);
}
