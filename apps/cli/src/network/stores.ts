/** Where sealed objects lie: in the home's folder, or in the folders and buckets that `--store` names. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import {
  createReplicatedStore,
  openDirectoryStore,
  openS3Store,
  type ReplicatedStore,
} from "@cloister/adapters/store";
import { CloisterError, type ObjectStore } from "@cloister/core";
import type { Context } from "../cli/context.ts";
import { usageError } from "../cli/usage.ts";
import { layoutOf } from "./layout.ts";

/** Losing any one store loses nothing. */
const COPIES_MIN = 2;

/** Opens the store that is meant, and makes it where there is none; several are kept alike, and those that fail or lie are warned of by name. */
export async function openStores(places: readonly string[], context: Context): Promise<ObjectStore> {
  if (places.length > 1) return join(several(places), context);
  return openOne(places[0] ?? layoutOf(context.home).objects, context);
}

/**
 * Opens the store that is meant for reading. Where none of the folders that are named is there nothing is made: a
 * mistyped path is not an empty store.
 * @throws {CloisterError} `OBJECT_STORE_NOT_FOUND`
 */
export async function openStoresToRead(places: readonly string[], context: Context): Promise<ObjectStore> {
  requireOne(places.length === 0 ? [layoutOf(context.home).objects] : places);
  return openStores(places, context);
}

/** One that is there is enough: the others may be lost. */
function requireOne(places: readonly string[]): void {
  if (places.some((place) => !isFolder(place) || existsSync(resolve(place)))) return;
  const named = places.map((place) => resolve(place)).join(", ");
  throw new CloisterError("OBJECT_STORE_NOT_FOUND", `There is no object store in ${named}.`, {
    hint: "Check the path; `cloister files put` makes a store where there is none.",
  });
}

/** A place is a folder unless it says how to reach it. */
function isFolder(place: string): boolean {
  return place !== "" && !/^[a-z][a-z0-9+.-]*:\/\//i.test(place);
}

/**
 * Opens several stores as one, to hold their copies against each other.
 * @throws {CloisterError} `USAGE_STORES_MISSING`, `OBJECT_STORE_NOT_FOUND`
 */
export async function openReplicated(places: readonly string[], context: Context): Promise<ReplicatedStore> {
  const distinct = several(places);
  requireOne(distinct);
  return join(distinct, context);
}

function several(places: readonly string[]): string[] {
  const distinct = [...new Set(places)];
  if (distinct.length >= COPIES_MIN) return distinct;
  throw usageError(
    "USAGE_STORES_MISSING",
    "Copies are held against each other in two stores or more.",
    "Give --store once for each.",
  );
}

async function join(places: readonly string[], context: Context): Promise<ReplicatedStore> {
  const stores = await Promise.all(places.map((place) => openOne(place, context)));
  return createReplicatedStore(stores, {
    copiesMin: COPIES_MIN,
    onFault: ({ code, reason }) => context.output.warn(`warning ${code}: ${reason}`),
  });
}

async function openOne(place: string, context: Context): Promise<ObjectStore> {
  if (isFolder(place)) return openDirectoryStore(resolve(place), context.nowMs());
  const url = /^https?:/i.test(place) && URL.canParse(place) ? new URL(place) : undefined;
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
