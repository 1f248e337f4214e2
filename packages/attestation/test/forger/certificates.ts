/** Certificates and revocation lists of fake vendors: genuine in all respects but those that are twisted. */
import { buildCertificate, buildCrl, type CertificateFields } from "../../src/index.ts";
import type { ForgedKey } from "./keys.ts";

/** When all forgeries are judged, unless a test says otherwise. */
export const FORGED_NOW_MS = Date.UTC(2026, 5, 15);
const YEAR_MS = 365 * 86_400_000;

/** What may be wrong about one certificate. */
export interface CertificateTwist {
  readonly signedBy?: ForgedKey;
  readonly fields?: Partial<CertificateFields>;
  readonly moreExtensions?: CertificateFields["extensions"];
}

/** A certificate that is valid from a year before to a year after `FORGED_NOW_MS`, unless it is twisted. */
export function forgeCertificate(
  genuine: Pick<CertificateFields, "issuer" | "subject" | "extensions"> & {
    readonly serial: readonly number[] | Uint8Array;
    readonly key: ForgedKey;
    readonly by: ForgedKey;
  },
  twist: CertificateTwist = {},
): Uint8Array {
  const { serial, issuer, subject, extensions, key, by } = genuine;
  return buildCertificate(
    {
      serial: new Uint8Array(serial),
      issuer,
      subject,
      notBeforeMs: FORGED_NOW_MS - YEAR_MS,
      notAfterMs: FORGED_NOW_MS + YEAR_MS,
      publicKey: key.publicKey,
      extensions: [...extensions, ...(twist.moreExtensions ?? [])],
      ...twist.fields,
    },
    (twist.signedBy ?? by).issuer,
  );
}

/** What may be wrong about a revocation list, and what is on it. */
export interface CrlTwist {
  readonly signedBy?: ForgedKey;
  readonly revoked?: readonly Uint8Array[];
  readonly thisUpdateMs?: number;
  readonly nextUpdateMs?: number;
}

/** A revocation list of the same span. */
export function forgeCrl(issuer: Uint8Array, by: ForgedKey, twist: CrlTwist = {}): Uint8Array {
  return buildCrl(
    {
      issuer,
      thisUpdateMs: twist.thisUpdateMs ?? FORGED_NOW_MS - YEAR_MS,
      nextUpdateMs: twist.nextUpdateMs ?? FORGED_NOW_MS + YEAR_MS,
      number: 1,
      revoked: (twist.revoked ?? []).map((serial) => ({ serial, timeMs: FORGED_NOW_MS - YEAR_MS })),
    },
    (twist.signedBy ?? by).issuer,
  );
}
