/** Where sealed objects lie: in the home's folder, or in the folders and buckets that `--store` names. */
import { resolve } from "node:path";
import {
  createReplicatedStore,
  openDirectoryStore,
  openS3Store,
  type ReplicatedStore,
} from "@cloister/adapters/store";
import type { ObjectStore } from "@cloister/core";
import type { Context } from "../cli/context.ts";
import { usageError } from "../cli/usage.ts";
import { layoutOf } from "./layout.ts";

/** Losing any one store loses nothing. */
const COPIES_MIN = 2;

/** Opens the store that is meant; several are kept alike, and those that fail or lie are warned of by name. */
export async function openStores(places: readonly string[], context: Context): Promise<ObjectStore> {
  if (places.length > 1) return openReplicated(places, context);
  return openOne(places[0] ?? layoutOf(context.home).objects, context);
}

/** Opens several stores as one. @throws {CloisterError} `USAGE_STORES_MISSING` */
export async function openReplicated(places: readonly string[], context: Context): Promise<ReplicatedStore> {
  if (new Set(places).size < COPIES_MIN)
    throw usageError(
      "USAGE_STORES_MISSING",
      "Copies are held against each other in two stores or more.",
      "Give --store once for each.",
    );
  const stores = await Promise.all([...new Set(places)].map((place) => openOne(place, context)));
  return createReplicatedStore(stores, {
    copiesMin: COPIES_MIN,
    onFault: ({ code, reason }) => context.output.warn(`warning ${code}: ${reason}`),
  });
}

async function openOne(place: string, context: Context): Promise<ObjectStore> {
  if (!/^https?:\/\//.test(place)) return openDirectoryStore(resolve(place), context.nowMs());
  const url = URL.canParse(place) ? new URL(place) : undefined;
  const [, bucket, ...rest] = url?.pathname.split("/") ?? [];
  if (url === undefined || bucket === undefined || bucket === "" || rest.some((part) => part !== ""))
    throw usageError(
      "USAGE_STORE",
      `"${place}" does not name a bucket.`,
      "A store is a folder, or https://HOST[:PORT]/BUCKET.",
    );
  const { AWS_ACCESS_KEY_ID = "", AWS_SECRET_ACCESS_KEY = "", AWS_REGION = "us-east-1" } = process.env;
  if (AWS_ACCESS_KEY_ID === "" || AWS_SECRET_ACCESS_KEY === "")
    throw usageError(
      "USAGE_STORE_KEYS_MISSING",
      `The bucket ${place} needs keys.`,
      "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_REGION if it is not us-east-1.",
    );
  return openS3Store({
    endpoint: url.origin,
    bucket,
    accessKeyId: AWS_ACCESS_KEY_ID,
    secretAccessKey: AWS_SECRET_ACCESS_KEY,
    region: AWS_REGION,
    nowMs: context.nowMs,
  });
}
