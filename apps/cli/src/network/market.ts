import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { systemEntropy } from "@cloister/adapters/platform";
import {
  CloisterError,
  codeOf,
  digestFrom,
  digestOf,
  parseHex32,
  toHex,
  type Address,
  type Digest,
  type OfferId,
  type OrderId,
} from "@cloister/core";
import {
  collect,
  CONSENT_VERSION,
  encodeConsent,
  groupRecipient,
  headerDigest,
  open,
  layoutOf,
  readHeaderOf,
  recipientDigest,
  seal,
  type Chunks,
  type ConsentPolicy,
  type ObjectDigests,
} from "@cloister/custody";
import {
  balanceOf,
  changeOffer,
  DETAILS_VERSION,
  encodeDetails,
  goalHash,
  highestPriceWei,
  secondsAllowed,
  NATIVE_TOKEN,
  offerId as idOfOffer,
  openOrder,
  orderId as idOfOrder,
  publishOffer,
  refundOrder,
  ZERO_HEX32,
  type Offer,
  type OfferDetails,
  type OfferKind,
  type OfferTerms,
  type Order,
  type OrderRecord,
} from "@cloister/market";
import {
  argumentsDigest,
  encodeArguments,
  unpackTar,
  type EngineFile,
  type OrderArguments,
} from "@cloister/workload";
import type { Account } from "./accounts.ts";
import type { Client } from "./client.ts";

const MIB = 1024 * 1024;
const POLL_MS = 200;

/** What an owner says about an object when offering it. */
export interface OfferPlan {
  readonly kind: Extract<OfferKind, "engine" | "data" | "model">;
  readonly content: Chunks;
  readonly fixedWei: bigint;
  /** The other terms; absent: none of them. */
  readonly terms?: Partial<OfferTerms>;
  /** What it says of itself. */
  readonly details?: Pick<OfferDetails, "name" | "revision" | "download">;
  /** The offer whose place it takes, and from when on (seconds since 1970; 0: now). */
  readonly replaces?: { readonly offer: Offer; readonly fromSeconds: number };
  /** Engines that may read the object. An engine offers itself to itself. */
  readonly engines: readonly Digest[];
  readonly purposes: readonly string[];
  readonly runsMax: number;
  readonly outputBytesMax?: number;
  readonly recipients?: readonly string[];
  readonly expiresAtMs?: number;
  /** A consent that was written beforehand; what the members above say of consent then does not count. */
  readonly policy?: ConsentPolicy;
  /** The file that its owner sealed beforehand; without it, the content is sealed now. */
  readonly sealedFile?: string;
}

export interface PublishedOffer {
  readonly offerId: OfferId;
  readonly contentDigest: Digest;
  readonly sealedDigest: Digest;
  readonly consentDigest: Digest;
  readonly sizeBytes: number;
}

/**
 * Seals an object to the key-release group in its owner's name, uploads the ciphertext and the consent, and
 * publishes the offer. `claims` replaces the plaintext's digest in the offer: for showing what becomes of a lie.
 */
export async function offer(
  client: Client,
  owner: Account,
  plan: OfferPlan,
  claims?: Digest,
): Promise<PublishedOffer> {
  const details = detailsOf(plan);
  const { contentDigest, sealedDigest, headerDigest, contentBytes } =
    plan.sealedFile === undefined
      ? await sealAndStore(client, owner, plan.content)
      : await storeSealed(client, plan.content, plan.sealedFile);
  const engines = plan.engines.length === 0 ? [claims ?? contentDigest] : plan.engines;
  const consent = encodeConsent(plan.policy ?? consentOf(client, plan, engines));
  await client.store.put(once(consent));
  if (details !== undefined) await client.store.put(once(details));
  const statement: Offer = {
    owner: owner.address,
    kind: plan.kind,
    terms: {
      token: NATIVE_TOKEN,
      fixedWei: plan.fixedWei,
      ...{ perSecondWei: 0n, bookingWei: 0n, poolMinWei: 0n, shareBps: 0, secondsMin: 0, secondsMax: 0 },
      ...plan.terms,
      runsMax: plan.runsMax,
      validUntilSeconds: plan.expiresAtMs === undefined ? 0 : Math.floor(plan.expiresAtMs / 1000),
      accountsRoot: ZERO_HEX32,
    },
    content: {
      contentDigest: claims ?? contentDigest,
      ...{ sealedDigest, headerDigest },
      consentDigest: digestOf(consent),
      ...(details === undefined ? {} : { detailsDigest: digestOf(details) }),
      salt: parseHex32(`0x${toHex(systemEntropy(32))}`),
    },
  };
  const { deployment } = client.chain;
  const { replaces } = plan;
  const call =
    replaces === undefined
      ? publishOffer(deployment, statement)
      : changeOffer(deployment, replaces.offer, statement, replaces.fromSeconds);
  await client.chain.send(call, owner.secret);
  return {
    offerId: idOfOffer(deployment, statement),
    contentDigest: claims ?? contentDigest,
    sealedDigest,
    consentDigest: digestOf(consent),
    sizeBytes: contentBytes,
  };
}

function detailsOf({ details, replaces }: OfferPlan): Uint8Array | undefined {
  if (details === undefined) return undefined;
  const before = replaces?.offer.content.contentDigest;
  return encodeDetails({
    version: DETAILS_VERSION,
    ...details,
    ...(before === undefined ? {} : { replaces: before }),
  });
}

async function sealAndStore(client: Client, owner: Account, content: Chunks): Promise<ObjectDigests> {
  const group = await client.releaseGroup();
  const sealing = seal(content, [groupRecipient(group.recipient, owner.address)], systemEntropy);
  await client.store.put(sealing);
  return sealing.digests();
}

/** Stores what was sealed beforehand, if it can be of this content: it must have exactly its size. */
async function storeSealed(client: Client, content: Chunks, file: string): Promise<ObjectDigests> {
  const { size } = await stat(file);
  const read = (offset: number, length: number) =>
    createReadStream(file, { start: offset, end: offset + length - 1 });
  const header = await readHeaderOf({ sizeBytes: size, read });
  const hash = createHash("sha256");
  let contentBytes = 0;
  for await (const chunk of content) {
    hash.update(chunk);
    contentBytes += chunk.length;
  }
  const sealedContentBytes = layoutOf(header, size).contentBytes;
  if (sealedContentBytes !== contentBytes) {
    throw new CloisterError(
      "OFFER_SEALED_OTHER",
      `The sealed file holds ${sealedContentBytes} bytes, and the content has ${contentBytes}.`,
      { hint: "Name the file that `cloister seal` made of this content." },
    );
  }
  const stored = await client.store.put(createReadStream(file));
  return {
    contentDigest: digestFrom(new Uint8Array(hash.digest())),
    contentBytes,
    sealedDigest: stored.digest,
    sealedBytes: stored.sizeBytes,
    headerDigest: headerDigest(header),
  };
}

function consentOf(client: Client, plan: OfferPlan, engines: readonly Digest[]): ConsentPolicy {
  const { chainId, market } = client.network;
  return {
    version: CONSENT_VERSION,
    engines,
    purposes: plan.purposes,
    runsMax: plan.runsMax,
    outputBytesMax: plan.outputBytesMax ?? 64 * MIB,
    egress: "none",
    market: { chainId, contract: market },
    ...(plan.recipients === undefined ? {} : { recipients: plan.recipients }),
    ...(plan.expiresAtMs === undefined ? {} : { expiresAtMs: plan.expiresAtMs }),
  };
}

/** What a client orders. */
export interface OrderPlan {
  readonly engine: OfferId;
  readonly inputs: readonly { readonly offer: OfferId; readonly name: string }[];
  readonly purpose: string;
  /** The content of `/args.json` in the engine's sandbox. */
  readonly engineArgs?: string;
  readonly computeWei: bigint;
  /** What the offers with a share divide; at least what each of them asks for. */
  readonly poolWei?: bigint;
  /** For offers that are paid by the second: the longest that is paid for. */
  readonly secondsMax?: number;
  /** Pays with what the account has in the market, instead of out of its wallet. */
  readonly fromBalance?: boolean;
  /** The most that the order may cost. */
  readonly maxWei?: bigint;
  readonly deadlineMs: number;
  readonly outputBytesMax?: number;
  readonly runMs?: number;
  readonly memoryBytes?: number;
  /** The goal whose group must run it; absent: any group that computes. */
  readonly goal?: string;
}

/** An order that was prepared. Opening it again, after whatever crash, opens the same order and pays once. */
export interface PreparedOrder {
  readonly id: OrderId;
  /** What it costs at most, and what is taken into escrow. */
  readonly depositWei: bigint;
  open(): Promise<void>;
}

/** Prepares an order and opens it, with its money in escrow. */
export async function order(client: Client, account: Account, plan: OrderPlan): Promise<OrderId> {
  const prepared = await prepareOrder(client, account, plan);
  await prepared.open();
  return prepared.id;
}

/**
 * Checks what an order needs; opening it uploads its arguments and pays.
 * @throws {CloisterError} `OFFER_UNKNOWN`, `ORDER_TOO_DEAR`
 */
export async function prepareOrder(
  client: Client,
  account: Account,
  plan: OrderPlan,
): Promise<PreparedOrder> {
  const { deployment } = client.chain;
  const { state } = await client.chain.refresh();
  const offers = [plan.engine, ...plan.inputs.map((input) => input.offer)].map((id) => {
    const known = state.offers.get(id)?.offer;
    if (known !== undefined) return known;
    throw new CloisterError("OFFER_UNKNOWN", `There is no offer ${id} on this market.`, {
      hint: "`cloister offers list` shows what there is.",
    });
  });
  const args: OrderArguments = {
    version: 1,
    purpose: plan.purpose,
    recipient: account.identity.recipient.text,
    outputBytesMax: plan.outputBytesMax ?? 16 * MIB,
    inputs: plan.inputs.map(({ name }) => name),
    ...(plan.engineArgs === undefined ? {} : { engine: plan.engineArgs }),
    ...(plan.runMs === undefined ? {} : { runMs: plan.runMs }),
    ...(plan.memoryBytes === undefined ? {} : { memoryBytes: plan.memoryBytes }),
  };
  const terms = offers.map((one) => one.terms);
  const price = {
    poolWei:
      plan.poolWei ?? terms.reduce((most, { poolMinWei }) => (poolMinWei > most ? poolMinWei : most), 0n),
    ...{ computeFixedWei: plan.computeWei, computePerSecondWei: 0n },
    secondsMax: secondsWanted(terms, plan),
  };
  const depositWei = highestPriceWei(price, terms);
  if (plan.maxWei !== undefined && depositWei > plan.maxWei) {
    throw new CloisterError(
      "ORDER_TOO_DEAR",
      `The order costs ${depositWei} wei; the most allowed is ${plan.maxWei}.`,
      {
        hint: "Raise --max-price, or choose cheaper offers.",
      },
    );
  }
  const statement: Order = {
    client: account.address,
    token: NATIVE_TOKEN,
    ...price,
    depositWei,
    deadlineSeconds: Math.ceil(plan.deadlineMs / 1000),
    offers: [plan.engine, ...plan.inputs.map((input) => input.offer)],
    argsDigest: argumentsDigest(args),
    recipientDigest: recipientDigest(args.recipient),
    goal: plan.goal === undefined ? ZERO_HEX32 : goalHash(plan.goal),
    salt: new DataView(systemEntropy(8).buffer).getBigUint64(0),
  };
  const call = openOrder(
    deployment,
    statement,
    offers.map((one) => ({ offer: one })),
    plan.fromBalance === true ? "balance" : "value",
  );
  return {
    id: idOfOrder(deployment, statement),
    depositWei,
    open: async () => {
      await client.store.put(once(encodeArguments(args)));
      await client.chain.send(call, account.secret);
    },
  };
}

/**
 * The seconds that an order pays for at most: none where nothing is paid by the second and no offer asks for time;
 * else what was asked for, or all the time until its deadline, within what every offer lets.
 */
function secondsWanted(terms: readonly OfferTerms[], { secondsMax, runMs, deadlineMs }: OrderPlan): number {
  const least = Math.max(...terms.map((one) => one.secondsMin));
  const isTimed = least > 0 || terms.some(({ perSecondWei }) => perSecondWei > 0n);
  if (secondsMax === undefined && !isTimed) return 0;
  const most = secondsAllowed(terms);
  const wanted = secondsMax ?? Math.ceil((runMs ?? deadlineMs - Date.now()) / 1000);
  const seconds = Math.max(least, Math.min(most, wanted));
  if (least <= most && (secondsMax === undefined || seconds === secondsMax)) return seconds;
  throw new CloisterError(
    "ORDER_TIME_OUTSIDE",
    `The offers are let for ${least} to ${most === Infinity ? "any number of" : most} seconds, not for ${wanted}.`,
    { hint: "Choose a --time-max within that, or other offers." },
  );
}

/**
 * Waits until an order has ended, whichever way. With `reopen`, an order that the chain has lost, as a chain
 * may that was killed or reorganised, is opened once more: its id and its price stay the same.
 * @throws {CloisterError} `ORDER_TIMEOUT`
 */
export async function orderEnd(
  client: Client,
  id: OrderId,
  options: { readonly untilMs: number; reopen?(): Promise<void> },
): Promise<OrderRecord> {
  for (;;) {
    const found = await lookFor(client, id, options.reopen);
    if (found !== undefined && found.status !== "open") return found;
    if (Date.now() > options.untilMs) {
      throw new CloisterError("ORDER_TIMEOUT", `The order ${id} has not ended yet.`, {
        hint: "It goes on without you: look again with `cloister orders show`.",
      });
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** The order as the chain has it; undefined while the chain does not answer or does not have it. */
async function lookFor(
  client: Client,
  id: OrderId,
  reopen: (() => Promise<void>) | undefined,
): Promise<OrderRecord | undefined> {
  try {
    const { state } = await client.chain.refresh();
    const found = state.orders.get(id);
    if (found === undefined) await reopen?.();
    return found;
  } catch (error) {
    if (PASSING.has(codeOf(error))) return undefined;
    throw error;
  }
}

/** What goes by when the chain has started again and has our contracts and offers. */
const PASSING: ReadonlySet<string> = new Set(["CHAIN_UNREACHABLE", "CHAIN_TIMEOUT", "CHAIN_REVERTED"]);

/** An order by its id, or by an unambiguous beginning of it. @throws {CloisterError} `ORDER_UNKNOWN` */
export function findOrder(client: Client, text: string): OrderRecord {
  const orders = [...(client.chain.view()?.state.orders.values() ?? [])];
  return findOne(orders, text, "ORDER", "order", "`cloister orders list`");
}

function findOne<T extends { readonly id: string }>(
  all: readonly T[],
  text: string,
  code: string,
  what: string,
  list: string,
): T {
  const matching = all.filter(({ id }) => id.startsWith(text.toLowerCase()) && text.length >= 4);
  const [only] = matching;
  if (only !== undefined && matching.length === 1) return only;
  const why = matching.length > 1 ? `${matching.length} ${what}s begin with` : `There is no ${what}`;
  throw new CloisterError(`${code}_UNKNOWN`, `${why} "${text.slice(0, 80)}".`, {
    hint: `${list} shows what there is.`,
  });
}

/** An offer's id by an unambiguous beginning of it. @throws {CloisterError} `OFFER_UNKNOWN` */
export function findOffer(client: Client, text: string): OfferId {
  const offers = [...(client.chain.view()?.state.offers.keys() ?? [])].map((id) => ({ id }));
  return findOne(offers, text, "OFFER", "offer", "`cloister offers list`").id;
}

/** Brings the money of an overdue order back. @throws {CloisterError} `ORDER_NOT_OVERDUE` */
export async function refund(client: Client, found: OrderRecord, account: Account): Promise<void> {
  if (found.status === "open" && found.deadlineMs > Date.now()) {
    throw new CloisterError(
      "ORDER_NOT_OVERDUE",
      `The order ${found.id} has until ${new Date(found.deadlineMs).toISOString()}.`,
      {
        hint: "It is refunded once that has passed without a report.",
      },
    );
  }
  await client.chain.send(refundOrder(client.chain.deployment, found.id, found.escrow), account.secret);
}

/** The files of a settled order's result, decrypted with the account's own key. */
export async function result(
  client: Client,
  found: OrderRecord,
  account: Account,
): Promise<{ readonly sealed: Uint8Array; readonly files: readonly EngineFile[] }> {
  const digest = found.settlement?.outputDigest;
  if (digest === undefined) {
    throw new CloisterError(
      "RESULT_NOT_FOUND",
      `The order ${found.id} has no result: it is ${found.status}.`,
      {
        hint: "Only an order that succeeded has one.",
      },
    );
  }
  const sealed = await collect(client.store.get(digest));
  const plain = await collect(await open([sealed], [account.identity]));
  return { sealed, files: unpackTar(plain) };
}

/** Everything that an address has: in its wallet, and to be withdrawn from the market. */
export async function wealth(client: Client, address: Address): Promise<bigint> {
  const { state } = await client.chain.refresh();
  return (await client.chain.coinOf(address)) + balanceOf(state, NATIVE_TOKEN, address);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
