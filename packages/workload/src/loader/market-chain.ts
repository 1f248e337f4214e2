import { parseHex32, type Clock, type OfferId, type OrderId } from "@cloister/core";
import {
  isMeasurementApproved,
  isNodeActive,
  recoverStatement,
  type Chain,
  type MarketState,
  type Offer,
  type OfferRecord,
  type Report,
} from "@cloister/market";
import type { LoaderChain, OfferOnChain, OrderOnChain } from "./ports.ts";
import type { OrderEnd } from "./stage.ts";

/** What the loader reads, out of the market's read model. Each answer looks at the newest block first. */
export function loaderChain(chain: Chain, clock: Clock): LoaderChain {
  const { deployment } = chain;
  const state = async (): Promise<MarketState> => (await chain.refresh()).state;
  return {
    market: { chainId: deployment.chainId, contract: deployment.market },
    order: async (id) => readOrder(await state(), id),
    node: async (id) => {
      const market = await state();
      const record = market.nodes.get(id);
      if (record === undefined) return undefined;
      const { measurement } = record.certificate;
      return {
        measurement,
        isActive: isNodeActive(market, id, clock.nowMs()),
        isMeasurementApproved: isMeasurementApproved(market, measurement, clock.nowMs()),
      };
    },
    term: async () => {
      const { term } = await state();
      return { term: term.term, leader: term.leader };
    },
    assignmentSigner: ({ signature, orderId, node, term, epoch }) =>
      recoverStatement(deployment, "Assignment", { orderId, node, term, epoch }, signature),
  };
}

/** An order out of the market's read model, with its offers; for the loader and for key-release members. */
export function readOrder(market: MarketState, id: OrderId): OrderOnChain | undefined {
  const record = market.orders.get(id);
  if (record === undefined) return undefined;
  const { client, openedAtMs, deadlineMs, argsDigest, recipientDigest } = record;
  return {
    ...{ client, openedAtMs, deadlineMs, argsDigest, recipientDigest },
    isOpen: record.status === "open",
    salt: parseHex32(`0x${record.salt.toString(16).padStart(64, "0")}`),
    offers: record.offers.map((offerId, i) => ({
      id: offerId,
      offer: readOffer(market, offerId, record.runsBefore[i] ?? 0),
    })),
  };
}

function readOffer(market: MarketState, id: OfferId, runsBefore: number): OfferOnChain | undefined {
  const record = market.offers.get(id);
  const offer = record?.offer;
  return record && offer && offerOnChain(record, offer, runsBefore);
}

function offerOnChain(
  record: OfferRecord,
  { owner, kind, content }: Offer,
  runsBefore: number,
): OfferOnChain {
  const { contentDigest, sealedDigest, headerDigest, consentDigest } = content;
  const revokedFrom = record.revokedFromSeconds;
  return {
    ...{ owner, kind, contentDigest, sealedDigest, headerDigest, consentDigest, runsBefore },
    revokedAtMs: revokedFrom === undefined ? undefined : revokedFrom * 1000,
  };
}

/** What the node signs for the contract about an order that ended here. */
export function reportOf(end: OrderEnd): Report {
  return {
    orderId: end.orderId,
    reportDigest: end.statementDigest,
    outputDigest: end.outputDigest,
    outcome: end.succeeded ? "succeeded" : "failed",
    exitCode: end.exitCode,
    secondsUsed: end.secondsUsed,
  };
}
