/** Judges an order by the consents of its offers before it is paid, as the loader and the key-release nodes will. */
import { codeOf, type Address, type Digest, type OfferId, type Refusal } from "@cloister/core";
import {
  collect,
  decodeConsent,
  judgeConsent,
  recipientDigest,
  type ConsentPolicy,
  type PlannedUse,
} from "@cloister/custody";
import {
  isMeasurementApproved,
  isNodeActive,
  offerStanding,
  type MarketState,
  type OfferRecord,
  type OfferStanding,
} from "@cloister/market";
import type { Client } from "./client.ts";

/** What an order would do, as far as consents ask. */
export interface OrderIntent {
  /** The engine first. */
  readonly offers: readonly OfferId[];
  readonly purpose: string;
  /** The age recipient of the result. */
  readonly recipient: string;
  readonly outputBytesMax: number;
}

/** Why one offer could not be used as planned. */
export interface OfferRefusals {
  readonly offer: OfferId;
  readonly kind: string;
  readonly refusals: readonly Refusal[];
}

/** A node on which the order might run. */
interface Place {
  readonly node: Address;
  readonly measurement: Digest;
}

/** The TEE of every node that there is today. */
const TEE = "tdx";

/**
 * Gives, for each offer, why its consent would refuse; an empty list means that some node of the network may run the
 * order. Where nodes differ, the reasons are those of the node that comes closest.
 * Codes: those of `judgeConsent`, `CONSENT_UNREADABLE`, `OFFER_UNKNOWN`, `OFFER_DISABLED`, `OFFER_NOT_YET`,
 * `OFFER_NOT_ENGINE`, `NODE_NONE_APPROVED`.
 */
export async function judgeOrder(
  client: Client,
  intent: OrderIntent,
  nowMs: number,
): Promise<readonly OfferRefusals[]> {
  const { state } = await client.chain.refresh();
  const [engineId] = intent.offers;
  const engine = engineId === undefined ? undefined : state.offers.get(engineId)?.offer;
  if (engineId !== undefined && engine?.kind !== "engine") {
    const reason = `The offer ${engineId} is no engine.`;
    return [
      { offer: engineId, kind: engine?.kind ?? "unknown", refusals: [{ code: "OFFER_NOT_ENGINE", reason }] },
    ];
  }
  const policies = new Map<OfferId, ConsentPolicy | undefined>();
  for (const id of intent.offers) policies.set(id, await readPolicy(client, state.offers.get(id)));
  const places = placesOf(state, nowMs);
  const judged = places.map((place) =>
    intent.offers.flatMap((offer) => {
      const record = state.offers.get(offer);
      const planned = plannedFor(client, intent, record, place, engine?.content.contentDigest, nowMs);
      const refusals = judgeOffer(offer, record, policies.get(offer), planned);
      return refusals.length === 0 ? [] : [{ offer, kind: record?.offer?.kind ?? "unknown", refusals }];
    }),
  );
  return judged.toSorted((a, b) => countOf(a) - countOf(b))[0] ?? [noPlace(engineId as OfferId)];
}

function placesOf(state: MarketState, nowMs: number): Place[] {
  return [...state.nodes].flatMap(([node, { certificate }]) => {
    const { measurement } = certificate;
    const may = isNodeActive(state, node, nowMs) && isMeasurementApproved(state, measurement, nowMs);
    return may ? [{ node, measurement }] : [];
  });
}

function plannedFor(
  client: Client,
  intent: OrderIntent,
  record: OfferRecord | undefined,
  { node, measurement }: Place,
  engine: Digest | undefined,
  nowMs: number,
): PlannedUse {
  const from = record?.revokedFromSeconds;
  return {
    engine: engine as Digest,
    purpose: intent.purpose,
    runsUsed: record?.runs ?? 0,
    nowMs,
    outputBytesMax: intent.outputBytesMax,
    recipientDigest: recipientDigest(intent.recipient),
    egress: "none",
    tee: TEE,
    ...{ measurement, node },
    market: { chainId: client.network.chainId, contract: client.network.market },
    ...(from === undefined ? {} : { revokedAtMs: from * 1000 }),
  };
}

function judgeOffer(
  id: OfferId,
  record: OfferRecord | undefined,
  policy: ConsentPolicy | undefined,
  planned: PlannedUse,
): readonly Refusal[] {
  if (record?.offer === undefined) return [{ code: "OFFER_UNKNOWN", reason: `There is no offer ${id}.` }];
  const closed = refusalOfStanding(offerStanding(record, Math.floor(planned.nowMs / 1000)));
  if (closed !== undefined) return [closed];
  if (policy !== undefined) return judgeConsent(policy, planned);
  const reason = `The consent of the offer ${id} is not in the store, or not readable: nothing can be released under it.`;
  return [{ code: "CONSENT_UNREADABLE", reason, hint: "Ask its owner to publish it again." }];
}

/** What the contract would refuse and no consent says. */
function refusalOfStanding(standing: OfferStanding): Refusal | undefined {
  if (standing === "disabled") {
    const reason = "Its owner lets no orders be opened on it for the time being.";
    return { code: "OFFER_DISABLED", reason, hint: "Ask its owner, or choose another." };
  }
  if (standing !== "not-yet") return undefined;
  const reason = "It does not hold yet.";
  return {
    code: "OFFER_NOT_YET",
    reason,
    hint: "`cloister offers versions` shows from when on, and what holds now.",
  };
}

/** An offer's consent out of the store; undefined when it has none, or none that can be read. */
export async function readPolicy(
  client: Client,
  record: OfferRecord | undefined,
): Promise<ConsentPolicy | undefined> {
  const digest = record?.offer?.content.consentDigest;
  if (digest === undefined) return undefined;
  try {
    return decodeConsent(await collect(client.store.get(digest)));
  } catch (error) {
    if (codeOf(error) === "INTERNAL") throw error;
    return undefined;
  }
}

function noPlace(offer: OfferId): OfferRefusals {
  const reason = "No node of the network is active with approved software.";
  return {
    offer,
    kind: "engine",
    refusals: [{ code: "NODE_NONE_APPROVED", reason, hint: "See `cloister node list`." }],
  };
}

function countOf(all: readonly OfferRefusals[]): number {
  return all.reduce((sum, { refusals }) => sum + refusals.length, 0);
}
