import {
  decodeGroupKey,
  decodeGroupShare,
  decodePlan,
  encodeGroupKey,
  encodeGroupShare,
  encodePlan,
  type CeremonyPlan,
  type GroupKey,
  type GroupShare,
} from "@cloister/custody";
import { decodeCanonical, encodeCanonical, type Cbor, type RecordStore } from "@cloister/core";
import { MessageFields } from "./message.ts";

/** A key of a group in one epoch, and this CVM's share of it. */
export interface Held {
  readonly group: GroupKey;
  readonly share: GroupShare;
  /** The epoch of the roster that it was made for, as the chain counts it. */
  readonly rosterEpoch: number;
}

/** Which ceremony: attempts are counted within a roster. */
export interface Round {
  readonly rosterEpoch: number;
  readonly attempt: number;
}

/** What one CVM must not forget of a key. One record, so that no crash leaves half of it. */
export interface KeyGroupState {
  readonly committed?: Held;
  /** Made, and not yet confirmed by all of its members. */
  readonly candidate?: Held;
  readonly ceremony?: { readonly plan: CeremonyPlan; readonly round: Round; readonly bytes: Uint8Array };
}

/** The sealed record of one key. */
export class KeyGroupRecord {
  readonly #sealed: RecordStore;
  readonly #name: string;

  constructor(sealed: RecordStore, key: string) {
    this.#sealed = sealed;
    this.#name = `key-group-${key.replaceAll(/[^a-z0-9.-]/g, "_")}`;
  }

  /** @throws {CloisterError} `SEALED_RECORD_UNREADABLE`, `REQUEST_MALFORMED` */
  async read(): Promise<KeyGroupState> {
    const record = await this.#sealed.read(this.#name);
    if (record === undefined) return {};
    const document = decodeCanonical(record) as Readonly<Record<string, Cbor>>;
    const { committed, candidate, ceremony } = document;
    return {
      ...(committed === undefined ? {} : { committed: readHeld(committed) }),
      ...(candidate === undefined ? {} : { candidate: readHeld(candidate) }),
      ...(ceremony === undefined ? {} : { ceremony: readCeremony(ceremony) }),
    };
  }

  async write({ committed, candidate, ceremony }: KeyGroupState): Promise<void> {
    const document = {
      ...(committed === undefined ? {} : { committed: heldDocument(committed) }),
      ...(candidate === undefined ? {} : { candidate: heldDocument(candidate) }),
      ...(ceremony === undefined
        ? {}
        : { ceremony: { ...ceremony.round, plan: encodePlan(ceremony.plan), bytes: ceremony.bytes } }),
    };
    await this.#sealed.write(this.#name, encodeCanonical(document));
  }
}

function heldDocument({ group, share, rosterEpoch }: Held): Cbor {
  return { group: encodeGroupKey(group), share: encodeGroupShare(share), rosterEpoch };
}

function readHeld(document: Cbor): Held {
  const fields = new MessageFields(document);
  return {
    group: decodeGroupKey(fields.bytes("group")),
    share: decodeGroupShare(fields.bytes("share")),
    rosterEpoch: fields.count("rosterEpoch"),
  };
}

function readCeremony(document: Cbor): NonNullable<KeyGroupState["ceremony"]> {
  const fields = new MessageFields(document);
  const round = { rosterEpoch: fields.count("rosterEpoch"), attempt: fields.count("attempt") };
  return { plan: decodePlan(fields.bytes("plan")), round, bytes: fields.bytes("bytes") };
}
