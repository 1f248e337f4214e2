import { assertInvariant, type Address } from "@cloister/core";
import { encodeAbiParameters, keccak256 } from "viem/utils";
import { unpackHead, unpackPayees, type Escrow } from "./escrow.ts";
import type { Deployment } from "./types.ts";

const BPS_WHOLE = 10_000;

/** Accounts and what each is paid of a whole, in hundredths of a percent. */
export interface Split {
  readonly accounts: readonly Address[];
  readonly sharesBps: readonly number[];
}

/** The account that an offer or a channel names to be paid to several; splits may be members. spec/market.md §8 */
export function splitAddress(deployment: Deployment, { accounts, sharesBps }: Split): Address {
  assertInvariant(
    accounts.length === sharesBps.length && sharesBps.reduce((sum, share) => sum + share, 0) === BPS_WHOLE,
    "a split's shares are a whole",
  );
  const encoded = encodeAbiParameters(
    [{ type: "address" }, { type: "address[]" }, { type: "uint16[]" }],
    [deployment.market, accounts, sharesBps],
  );
  return `0x${keccak256(encoded).slice(-40)}` as Address;
}

/** The split that a service's revenue goes to: its offers' owners by their shares, its client the rest. */
export function serviceSplit(escrow: Escrow): Split {
  const payees = unpackPayees(escrow.payees);
  const shares = payees.map((payee) => payee.shareBps);
  const rest = shares.reduce((left, share) => left - share, BPS_WHOLE);
  return {
    accounts: [...payees.map((payee) => payee.owner), unpackHead(escrow.head).client],
    sharesBps: [...shares, rest],
  };
}

/** What each account gets of an amount, rounded down; what that leaves stays with the split for the next time. */
export function sharesDown(amountWei: bigint, sharesBps: readonly number[]): bigint[] {
  return sharesBps.map((bps) => (amountWei * BigInt(bps)) / BigInt(BPS_WHOLE));
}
