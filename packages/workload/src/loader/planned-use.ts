import type { NodeId } from "@cloister/core";
import type { PlannedUse } from "@cloister/custody";
import type { OrderArguments } from "../arguments.ts";
import type { Market, OfferOnChain, OrderOnChain } from "./ports.ts";

/**
 * The use that an order plans of one of its offers, in the words in which consents are judged. Time,
 * TEE and measurement are the judge's own to add: the loader's from itself, a key-release member's from
 * the loader's evidence. Both derive the rest from the chain and the order's arguments alone.
 * Undefined when the order does not begin with an engine that the chain knows.
 */
export function plannedUse(
  order: OrderOnChain,
  offer: OfferOnChain,
  args: OrderArguments,
  node: NodeId,
  market: Market,
): Omit<PlannedUse, "nowMs" | "tee" | "measurement"> | undefined {
  const engine = order.offers[0]?.offer;
  if (engine?.kind !== "engine") return undefined;
  return {
    engine: engine.contentDigest,
    purpose: args.purpose,
    runsUsed: offer.runsBefore,
    outputBytesMax: args.outputBytesMax,
    recipientDigest: order.recipientDigest,
    egress: "none",
    node,
    market,
    ...(offer.revokedAtMs === undefined ? {} : { revokedAtMs: offer.revokedAtMs }),
  };
}
