import { parseCertificate, parseCrl, verifyCrl, type Crl } from "@cloister/attestation";
import { accept, codeOf, encodeCanonical, refuse, type RecordStore, type Verdict } from "@cloister/core";
import { Shape } from "../shape.ts";
import { issueRevocationList } from "./issue.ts";

const RECORD = "revocations";
const REVOKED_MAX = 100_000;
const SERIAL = /^[0-9a-f]{2,40}$/;
const shape = new Shape("REVOCATIONS_RECORD_BROKEN", "record of revocations");

interface Revocation {
  readonly serial: string;
  readonly timeMs: number;
  /** When the certificate would have run out anyway; after that it need not be listed. */
  readonly notAfterMs: number;
}

/**
 * What an authority has revoked, durable before anybody is told. Each list has a number of its own, and
 * no number is given twice, also across restarts.
 */
export class RevocationRegister {
  readonly #records: RecordStore;
  #last: Promise<unknown> = Promise.resolve();

  constructor(records: RecordStore) {
    this.#records = records;
  }

  /** Revokes a certificate from now on. Revoking it again changes nothing. */
  revoke(
    certificate: { readonly serial: string; readonly notAfterMs: number },
    nowMs: number,
  ): Promise<void> {
    return this.#alone(async () => {
      const { number, revoked } = await this.#read();
      if (revoked.some(({ serial }) => serial === certificate.serial)) return;
      const { serial, notAfterMs } = certificate;
      await this.#write(number, [...revoked, { serial, notAfterMs, timeMs: nowMs }]);
    });
  }

  /**
   * Issues the list of this moment. It is good for two heartbeats: a relying party that misses more
   * than one stops accepting certificates rather than go on without knowing.
   */
  list(
    options: { readonly nowMs: number; readonly heartbeatMs: number; readonly authorityKey: Uint8Array },
    sign: (message: Uint8Array) => Uint8Array,
  ): Promise<Uint8Array> {
    const { nowMs, heartbeatMs, authorityKey } = options;
    return this.#alone(async () => {
      const known = await this.#read();
      const revoked = known.revoked.filter(({ notAfterMs }) => notAfterMs >= nowMs);
      await this.#write(known.number + 1, revoked);
      const nextUpdateMs = nowMs + 2 * heartbeatMs;
      const list = { number: known.number + 1, thisUpdateMs: nowMs, nextUpdateMs, revoked };
      return issueRevocationList(authorityKey, list, sign);
    });
  }

  #alone<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#last.then(act);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #read(): Promise<{ number: number; revoked: Revocation[] }> {
    const record = await this.#records.read(RECORD);
    if (record === undefined) return { number: 0, revoked: [] };
    const document = shape.record(shape.decode(record, 16_777_216), "", ["number", "revoked"]);
    const revoked = shape.list(document.revoked, "revoked", REVOKED_MAX, (item, path) => {
      const one = shape.record(item, path, ["serial", "timeMs", "notAfterMs"]);
      return {
        serial: shape.text(one.serial, `${path}.serial`, 40, SERIAL),
        timeMs: shape.count(one.timeMs, `${path}.timeMs`),
        notAfterMs: shape.count(one.notAfterMs, `${path}.notAfterMs`),
      };
    });
    return { number: shape.count(document.number, "number"), revoked };
  }

  #write(number: number, revoked: readonly Revocation[]): Promise<void> {
    return this.#records.write(RECORD, encodeCanonical({ number, revoked }));
  }
}

/**
 * The latest revocation list that a relying party has seen. It never goes back to an older one, whoever
 * offers it, and gives none at all once the latest has run out. Hand what it gives to `verifyNodeCertificate`.
 */
export class RevocationView {
  readonly #authority: Uint8Array;
  #latest: { crl: Crl; der: Uint8Array } | undefined;

  /** @param authority the authority's certificate, DER, already trusted */
  constructor(authority: Uint8Array) {
    this.#authority = authority;
  }

  /** Takes a list in, wherever it came from. */
  offer(der: Uint8Array, nowMs: number): Verdict<Crl> {
    const read = readCrl(der);
    if (!read.ok) return read;
    const crl = read.value;
    const options = { prefix: "REVOCATION", what: "The authority's revocation list", nowMs };
    const [first, ...rest] = verifyCrl(crl, parseCertificate(this.#authority), options);
    if (first !== undefined) return { ok: false, refusals: [first, ...rest] };
    if (this.#latest !== undefined && crl.thisUpdateMs < this.#latest.crl.thisUpdateMs) {
      return refuse("REVOCATION_ROLLED_BACK", "The revocation list is older than one that was seen before.");
    }
    this.#latest = { crl, der };
    return accept(crl);
  }

  /** The list to verify certificates with, or a refusal to verify any. */
  current(nowMs: number): Verdict<Uint8Array> {
    const untilMs = this.#latest?.crl.nextUpdateMs;
    if (this.#latest !== undefined && untilMs !== undefined && nowMs <= untilMs)
      return accept(this.#latest.der);
    return refuse(
      "REVOCATION_UNKNOWN",
      "No revocation list of the authority is good at this moment.",
      "Fetch the latest list; without one it is not known which certificates still hold.",
    );
  }
}

/** The issuer's key of a list is checked by `verifyCrl`; here only its form is. */
function readCrl(der: Uint8Array): Verdict<Crl> {
  try {
    return accept(parseCrl(der));
  } catch (error) {
    return refuse("REVOCATION_MALFORMED", `The revocation list cannot be read (${codeOf(error)}).`);
  }
}
