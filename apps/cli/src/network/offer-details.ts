/** What offers say of themselves beside their terms: a small document in the store. */
import { codeOf, digestOf } from "@cloister/core";
import { collect } from "@cloister/custody";
import { decodeDetails, DETAILS_BYTES_MAX, type OfferDetails, type OfferRecord } from "@cloister/market";
import type { Client } from "./client.ts";

/** An offer's details; undefined when it has none, or none that can be read: they are its owner's words. */
export async function readDetails(
  { store }: Pick<Client, "store">,
  record: OfferRecord | undefined,
): Promise<OfferDetails | undefined> {
  const digest = record?.offer?.content.detailsDigest;
  if (digest === undefined) return undefined;
  try {
    // Whatever the digest names: nothing large is read.
    const { sizeBytes = Infinity } = (await store.stat(digest)) ?? {};
    if (sizeBytes > DETAILS_BYTES_MAX) return undefined;
    const bytes = await collect(store.get(digest));
    return digestOf(bytes) === digest ? decodeDetails(bytes) : undefined;
  } catch (error) {
    if (codeOf(error) === "INTERNAL") throw error;
    return undefined;
  }
}
