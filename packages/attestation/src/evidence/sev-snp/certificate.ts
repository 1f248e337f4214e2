/** What AMD writes into VCEK and VLEK certificates. AMD 57230 §3 (VCEK), Table 8; 58369 (VLEK). */
import { fromUtf8, toHex, utf8 } from "@cloister/core";
import { der, derInteger, DerError, readDer, readSmallInteger, TAG } from "../../der.ts";
import type { Certificate, CertificateFields } from "../../x509.ts";
import type { SnpProduct, SnpTcb } from "../../types.ts";

const AMD = "1.3.6.1.4.1.3704.1";
const OIDS = {
  productName: `${AMD}.2`,
  bl: `${AMD}.3.1`,
  tee: `${AMD}.3.2`,
  snp: `${AMD}.3.3`,
  ucode: `${AMD}.3.8`,
  fmc: `${AMD}.3.9`,
  hardwareId: `${AMD}.4`,
  cspId: `${AMD}.5`,
} as const;

/** The key that signs reports: of one chip (VCEK), or loaded for one cloud provider (VLEK). */
export interface SnpLeaf {
  readonly kind: "VCEK" | "VLEK";
  readonly productName: string;
  readonly tcb: SnpTcb;
  /** VCEK only: lower-case hex, 64 bytes, or 8 on Turin. */
  readonly hardwareId: string | undefined;
  /** VLEK only. */
  readonly cspId: string | undefined;
}

/** Reads AMD's extensions. @throws {DerError} `DER_MALFORMED` when the certificate is not one of AMD's leaves. */
export function readSnpLeaf(certificate: Certificate): SnpLeaf {
  const { subjectCommonName: name } = certificate;
  if (name !== "SEV-VCEK" && name !== "SEV-VLEK") {
    throw new DerError(`the certificate is named "${name ?? ""}", not SEV-VCEK or SEV-VLEK`);
  }
  const kind = name === "SEV-VCEK" ? "VCEK" : "VLEK";
  const value = (oid: string): Uint8Array | undefined => certificate.extensions.get(oid)?.value;
  const level = (oid: string): number => {
    const bytes = value(oid);
    if (bytes === undefined) throw new DerError(`the ${kind} has no extension ${oid}`);
    const number = readSmallInteger(readDer(bytes, TAG.integer));
    if (number > 255) throw new DerError(`the ${kind} has an impossible security version`);
    return number;
  };
  const hardwareId = value(OIDS.hardwareId);
  const cspId = value(OIDS.cspId);
  if (kind === "VCEK" ? hardwareId === undefined : cspId === undefined || hardwareId !== undefined) {
    throw new DerError(`the ${kind} lacks what identifies it, or has what identifies the other kind`);
  }
  return {
    kind,
    productName: readText(value(OIDS.productName)),
    tcb: {
      ...(value(OIDS.fmc) === undefined ? {} : { fmc: level(OIDS.fmc) }),
      bl: level(OIDS.bl),
      tee: level(OIDS.tee),
      snp: level(OIDS.snp),
      ucode: level(OIDS.ucode),
    },
    hardwareId: hardwareId === undefined ? undefined : toHex(unwrapHardwareId(hardwareId)),
    cspId: cspId === undefined ? undefined : readText(cspId),
  };
}

/** Writes AMD's extensions, as `readSnpLeaf` reads them. */
export function snpLeafExtensions(leaf: {
  readonly productName: string;
  readonly tcb: SnpTcb;
  /** VCEK only. */
  readonly hardwareId?: Uint8Array;
  /** VLEK only. */
  readonly cspId?: string;
}): CertificateFields["extensions"] {
  const { productName, tcb, hardwareId, cspId } = leaf;
  const text = (value: string): Uint8Array => der(TAG.ia5String, utf8(value));
  const values: [string, Uint8Array | undefined][] = [
    [OIDS.productName, text(productName)],
    [OIDS.fmc, tcb.fmc === undefined ? undefined : derInteger(tcb.fmc)],
    ...(["bl", "tee", "snp", "ucode"] as const).map((name): [string, Uint8Array] => [
      OIDS[name],
      derInteger(tcb[name]),
    ]),
    [OIDS.hardwareId, hardwareId],
    [OIDS.cspId, cspId === undefined ? undefined : text(cspId)],
  ];
  return values.flatMap(([oid, value]) => (value === undefined ? [] : [{ oid, critical: false, value }]));
}

/** The product of an intermediate or a root by its name: `SEV-Milan`, `SEV-VLEK-Milan`, `ARK-Milan`. */
export function snpAuthority(
  commonName: string | undefined,
): { readonly role: "ASK" | "ASVK" | "ARK"; readonly product: SnpProduct } | undefined {
  const match = /^(SEV-VLEK|SEV|ARK)-(Milan|Genoa|Turin)$/.exec(commonName ?? "");
  if (match === null) return undefined;
  const roles = { SEV: "ASK", "SEV-VLEK": "ASVK", ARK: "ARK" } as const;
  const [, role, product] = match as unknown as [string, keyof typeof roles, string];
  return { role: roles[role], product: product.toLowerCase() as SnpProduct };
}

/** The id stands bare in the extension; some issuers wrap it into an OCTET STRING. */
function unwrapHardwareId(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 64 || bytes.length === 8) return bytes;
  const { content } = readDer(bytes, TAG.octetString);
  if (content.length !== 64 && content.length !== 8) throw new DerError("the hardware id has a wrong size");
  return content;
}

/** An IA5String, or in some certificates bare text. */
function readText(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return "";
  const text = bytes[0] === TAG.ia5String || bytes[0] === TAG.utf8String ? readDer(bytes).content : bytes;
  return fromUtf8(text.subarray(0, 200));
}
