/** OCSP answers of any responder, about any certificate. */
import { fromHex, sha384 } from "@cloister/core";
import {
  der,
  derBits,
  derExplicit,
  derOctets,
  derOid,
  derSequence,
  derUnsigned,
  ecdsaToDer,
  TAG,
  type Certificate,
} from "../../src/index.ts";
import { FORGED_NOW_MS } from "./certificates.ts";
import type { ForgedKey } from "./keys.ts";

const HOUR_MS = 3_600_000;

export interface OcspForgery {
  readonly certificate: Certificate;
  readonly issuer: Certificate;
  readonly signedBy: ForgedKey;
  readonly status?: "good" | "unknown" | number;
  readonly thisUpdateMs?: number;
  /** Null: the answer has no end. */
  readonly nextUpdateMs?: number | null;
  readonly certificates?: readonly Uint8Array[];
  readonly responseStatus?: number;
  readonly hash?: string;
}

/** Writes an answer; a number as the status is the reason of a revocation. */
export function forgeOcsp(forgery: OcspForgery): Uint8Array {
  const { certificate, issuer, status = "good" } = forgery;
  const id = derSequence(
    derSequence(derOid(forgery.hash ?? "2.16.840.1.101.3.4.2.2")),
    derOctets(sha384(issuer.subject)),
    derOctets(sha384(issuer.publicKey.raw)),
    derUnsigned(fromHex(certificate.serial)),
  );
  const revoked = (reason: number): Uint8Array =>
    der(0xa1, time(FORGED_NOW_MS - HOUR_MS), derExplicit(0, der(TAG.enumerated, new Uint8Array([reason]))));
  const encoded = status === "good" ? der(0x80) : status === "unknown" ? der(0x82) : revoked(status);
  const { nextUpdateMs = FORGED_NOW_MS + HOUR_MS } = forgery;
  const answer = derSequence(
    id,
    encoded,
    time(forgery.thisUpdateMs ?? FORGED_NOW_MS - HOUR_MS),
    ...(nextUpdateMs === null ? [] : [derExplicit(0, time(nextUpdateMs))]),
  );
  const responder = der(0xa2, derOctets(new Uint8Array(20)));
  const tbs = derSequence(responder, time(FORGED_NOW_MS - HOUR_MS), derSequence(answer));
  const algorithm = derSequence(derOid("1.2.840.10045.4.3.3"));
  const certificates =
    (forgery.certificates ?? []).length === 0
      ? []
      : [derExplicit(0, derSequence(...(forgery.certificates ?? [])))];
  const basic = derSequence(tbs, algorithm, derBits(ecdsaToDer(forgery.signedBy.sign(tbs))), ...certificates);
  const bytes = derSequence(derOid("1.3.6.1.5.5.7.48.1.1"), derOctets(basic));
  return derSequence(
    der(TAG.enumerated, new Uint8Array([forgery.responseStatus ?? 0])),
    derExplicit(0, bytes),
  );
}

function time(timeMs: number): Uint8Array {
  const digits = new Date(timeMs)
    .toISOString()
    .replace(/\.\d+Z$/, "")
    .replaceAll(/[-:T]/g, "");
  return der(
    TAG.generalizedTime,
    Uint8Array.from(`${digits}Z`, (char) => char.charCodeAt(0)),
  );
}
