import { parseCertificate } from "@cloister/attestation";
import { decodeCanonical, encodeCanonical, type NodeId, type RecordStore } from "@cloister/core";
import type { Revoked } from "./revocation.ts";

interface Issued {
  readonly certificates: readonly Uint8Array[];
  /** When the node was first seen to be barred. */
  readonly barredMs?: number;
}

/** What was issued to each node and has not run out: so that all of it can be revoked, not the latest alone. */
export class IssuedCertificates {
  readonly #records: RecordStore;

  constructor(records: RecordStore) {
    this.#records = records;
  }

  /** Durable before the node gets it: a certificate that is out is one that can be revoked. */
  async note(node: NodeId, certificate: Uint8Array): Promise<void> {
    const { notBeforeMs } = parseCertificate(certificate);
    const issued = await this.#read(node);
    const good = issued.certificates.filter((one) => parseCertificate(one).notAfterMs > notBeforeMs);
    await this.#write(node, { ...issued, certificates: [...good, certificate] });
  }

  /** The certificates of these nodes that would still be good. */
  async of(barred: readonly NodeId[], nowMs: number): Promise<Revoked[]> {
    const revoked: Revoked[] = [];
    for (const node of barred) {
      const issued = await this.#read(node);
      const timeMs = issued.barredMs ?? nowMs;
      if (issued.barredMs === undefined) await this.#write(node, { ...issued, barredMs: nowMs });
      for (const certificate of issued.certificates) {
        if (parseCertificate(certificate).notAfterMs >= nowMs) revoked.push({ certificate, timeMs });
      }
    }
    return revoked;
  }

  async #read(node: NodeId): Promise<Issued> {
    const record = await this.#records.read(recordOf(node));
    return record === undefined ? { certificates: [] } : (decodeCanonical(record) as unknown as Issued);
  }

  #write(node: NodeId, issued: Issued): Promise<void> {
    return this.#records.write(
      recordOf(node),
      encodeCanonical({ ...issued, certificates: [...issued.certificates] }),
    );
  }
}

function recordOf(node: NodeId): string {
  return `issued-${node.slice(2)}`;
}
