import { encodeFunctionData } from "viem/utils";
import { bytes, call, type Call } from "./call.ts";
import { packOffer } from "./escrow.ts";
import { marketAbi } from "./generated/market.ts";
import { encodeOffer, offerId } from "./statements.ts";
import type { Deployment, Offer } from "./types.ts";

/** Revokes an offer from a moment on; 0 is now. Its owner sends it, or anybody with its signature over OfferRevocation. */
export function revokeOffer(
  deployment: Deployment,
  offer: Offer,
  fromSeconds = 0,
  signature?: Uint8Array,
): Call {
  const id = offerId(deployment, offer);
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "revokeOffer",
    args: [packOffer(offer), BigInt(fromSeconds), bytes(signature)],
  });
  return call(deployment.market, "revokeOffer", data, (state) => {
    const from = state.offers.get(id)?.revokedFromSeconds;
    return from !== undefined && (fromSeconds === 0 || from <= fromSeconds);
  });
}

/**
 * Puts `next` in an offer's place from a moment on; 0 is now. Orders opened before keep the old terms. The owner
 * sends it, or anybody with its signature over OfferChange.
 */
export function changeOffer(
  deployment: Deployment,
  offer: Offer,
  next: Offer,
  fromSeconds = 0,
  signature?: Uint8Array,
): Call {
  const id = offerId(deployment, next);
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "changeOffer",
    args: [packOffer(offer), encodeOffer(next), BigInt(fromSeconds), bytes(signature)],
  });
  return call(deployment.market, "changeOffer", data, (state) => state.offers.get(id)?.offer !== undefined);
}

/** Lets orders be opened on an offer, or none for the time being. Its owner sends it. */
export function enableOffer(deployment: Deployment, offer: Offer, enabled: boolean): Call {
  const id = offerId(deployment, offer);
  const data = encodeFunctionData({
    abi: marketAbi,
    functionName: "enableOffer",
    args: [packOffer(offer), enabled],
  });
  return call(
    deployment.market,
    "enableOffer",
    data,
    (state) => (state.offers.get(id)?.disabled ?? false) === !enabled,
  );
}
