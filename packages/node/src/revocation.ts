import {
  CERTIFICATE_SKEW_MS,
  RevocationView,
  verifyAuthorityCertificate,
  verifyNodeCertificate,
  type Realm,
  type RevocationList,
} from "@cloister/certification";
import { parseCrl } from "@cloister/attestation";
import {
  codeOf,
  digestOf,
  equalBytes,
  valueOf,
  type Cbor,
  type Clock,
  type Log,
  type NodeId,
  type Refusal,
} from "@cloister/core";
import type { MarketState } from "@cloister/market";
import type { MessageFields } from "./message.ts";
import type { Timers } from "./ports.ts";

/** Each heartbeat brings a fresh revocation list; one list is good for two of them. */
export const HEARTBEAT_MS = 5_000;
/** Asked for twice as often, so that news is never older than one heartbeat, the signing included. */
const ASK_EVERY_MS = HEARTBEAT_MS / 2;

/** The nodes that the chain has barred: revoked, or caught at what it punishes. */
export function barredNodes({ nodes }: MarketState): NodeId[] {
  return [...nodes].filter(([, { status }]) => status === "barred").map(([id]) => id);
}

/** A certificate that a list names, and since when. */
export interface Revoked {
  readonly certificate: Uint8Array;
  readonly timeMs: number;
}

export function revokedBody(revoked: readonly Revoked[]): Cbor {
  return revoked.map(({ certificate, timeMs }) => ({ certificate, timeMs }));
}

/** @throws {CloisterError} `REQUEST_MALFORMED` */
export function readRevoked(fields: MessageFields): Revoked[] {
  return fields
    .list("revoked")
    .map((one) => ({ certificate: one.bytes("certificate"), timeMs: one.count("timeMs") }));
}

/**
 * What a list of this moment says of these certificates. Its number is its time: it grows, whoever was restarted.
 * @throws {CloisterError} codes of certificates that do not verify
 */
export function listOf(
  revoked: readonly Revoked[],
  options: { readonly authorityKey: Uint8Array; readonly realm: Realm; readonly nowMs: number },
): RevocationList {
  const { nowMs } = options;
  return {
    number: nowMs,
    thisUpdateMs: nowMs,
    nextUpdateMs: nowMs + 2 * HEARTBEAT_MS,
    revoked: revoked.map(({ certificate, timeMs }) => {
      return { serial: valueOf(verifyNodeCertificate(certificate, options)).serial, timeMs };
    }),
  };
}

/**
 * Judges whether a list says what the chain says, as one member sees it: nobody who is not barred stands on it, and
 * the registered certificate of each node that is barred does, while it would be good. spec/certificates.md §8
 */
export function judgeList(
  revoked: readonly Revoked[],
  state: MarketState,
  options: { readonly authorityKey: Uint8Array; readonly realm: Realm; readonly nowMs: number },
): Refusal[] {
  const refusals: Refusal[] = [];
  const refuse = (reason: string): void => void refusals.push({ code: "REVOCATION_LIST_WRONG", reason });
  const barred = new Set<string>(barredNodes(state));
  const digests = new Set(revoked.map(({ certificate }) => digestOf(certificate)));
  for (const { certificate, timeMs } of revoked) {
    const verdict = verifyNodeCertificate(certificate, options);
    if (!verdict.ok) refusals.push(...verdict.refusals);
    else if (!barred.has(verdict.value.keys.settlement)) {
      refuse(`The list names ${verdict.value.keys.settlement}, which the chain has not barred.`);
    }
    if (timeMs > options.nowMs + CERTIFICATE_SKEW_MS) refuse("The list names a time to come.");
  }
  for (const id of barred) {
    const registered = state.nodes.get(id as NodeId)?.certificate;
    if (registered === undefined || registered.notAfterSeconds * 1000 < options.nowMs) continue;
    if (!digests.has(registered.certificateDigest)) refuse(`The list leaves ${id} out.`);
  }
  return refusals;
}

export interface RevocationWatchPorts {
  readonly realm: Realm;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Log;
  /** The certificate of the authority that this node is certified by; undefined before it is. */
  authority(): Uint8Array | undefined;
  /** Asks for the latest list and the certificates that stand on it. */
  ask(): Promise<MessageFields>;
  /** From now on this node has nothing to do with `node`. */
  bar(node: NodeId): void;
}

/**
 * Hears with every heartbeat which certificates no longer hold, so that a node keeps away from a revoked one also
 * where its own view of the chain is kept from it. A list is believed for its signature, never for who brought it.
 */
export class RevocationWatch {
  readonly #ports: RevocationWatchPorts;
  #view: { readonly authority: Uint8Array; readonly list: RevocationView } | undefined;
  #heardMs: number | undefined;
  #stopped = false;

  constructor(ports: RevocationWatchPorts) {
    this.#ports = ports;
  }

  /** The time of the latest list, on the authority's clock; undefined before the first. */
  get heardMs(): number | undefined {
    return this.#heardMs;
  }

  stop(): void {
    this.#stopped = true;
  }

  async run(): Promise<void> {
    const { timers, log } = this.#ports;
    let said = "";
    while (!this.#stopped) {
      try {
        await this.hear();
        said = "";
      } catch (error) {
        const code = codeOf(error);
        if (code !== said) log.warn("revocations-unheard", { code, reason: (error as Error).message });
        said = code;
      }
      await timers.wait(ASK_EVERY_MS);
    }
  }

  /** One heartbeat. @throws {CloisterError} when no list came, or one that is not to be believed */
  async hear(): Promise<void> {
    const authority = this.#ports.authority();
    if (authority === undefined) return;
    const answer = await this.#ports.ask();
    const der = answer.bytes("list");
    const { thisUpdateMs } = parseCrl(der);
    // Clocks differ: a list from a moment ahead is of now.
    const ownMs = this.#ports.clock.nowMs();
    const nowMs = thisUpdateMs - ownMs < CERTIFICATE_SKEW_MS ? Math.max(ownMs, thisUpdateMs) : ownMs;
    valueOf(this.#viewOf(authority).offer(der, nowMs));
    this.#heardMs = thisUpdateMs;
    const { realm, bar } = this.#ports;
    const { key: authorityKey } = valueOf(verifyAuthorityCertificate(authority, { nowMs, realm }));
    for (const { certificate } of readRevoked(answer)) {
      const options = { authorityKey, nowMs, realm };
      const verdict = verifyNodeCertificate(certificate, { ...options, revocationList: der });
      const listed = !verdict.ok && verdict.refusals.every(({ code }) => code === "CERTIFICATE_REVOKED");
      if (listed) bar(valueOf(verifyNodeCertificate(certificate, options)).keys.settlement);
    }
  }

  #viewOf(authority: Uint8Array): RevocationView {
    if (this.#view === undefined || !equalBytes(this.#view.authority, authority)) {
      this.#view = { authority, list: new RevocationView(authority) };
    }
    return this.#view.list;
  }
}
