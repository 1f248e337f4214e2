/** AMD's Key Distribution Service (AMD 57230): chip certificates, their authorities and revocation lists. */
import {
  describeSevSnp,
  parseCertificate,
  parseCrl,
  parsePemChain,
  parseSnpReport,
  readSnpCertificateTable,
  readSnpTcb,
  snpProductOfCpu,
  snpSigningKey,
  type Endorsements,
  type Evidence,
  type SnpProduct,
} from "@cloister/attestation";
import { CloisterError, fromUtf8, toHex } from "@cloister/core";
import type { EndorsementCache } from "./cache.ts";
import { allOrFirstFailure } from "./http.ts";

export const AMD_KDS_URL = "https://kdsintf.amd.com";

const PRODUCTS: Readonly<Record<SnpProduct, string>> = { milan: "Milan", genoa: "Genoa", turin: "Turin" };
/** Turin's chips have ids of 8 bytes; the report pads them. */
const HARDWARE_ID_BYTES = { milan: 64, genoa: 64, turin: 8 };

/**
 * Fetches what a SEV-SNP report needs: the VCEK (unless the host's certificate table brought it), the
 * authorities, the revocation list. A VLEK cannot be fetched: it comes in the table.
 * @throws {CloisterError} as `EndorsementCache.get`; `ENDORSEMENTS_EVIDENCE_UNUSABLE`
 */
export async function fetchAmdEndorsements(
  evidence: Evidence,
  cache: EndorsementCache,
  options: { readonly baseUrl?: string; readonly product?: SnpProduct } = {},
): Promise<Endorsements> {
  const { baseUrl = AMD_KDS_URL } = options;
  const report = parseSnpReport(evidence.bytes);
  const product = options.product ?? snpProductOfCpu(report.cpuid) ?? productOfTable(evidence);
  if (product === undefined) {
    throw new CloisterError(
      "ENDORSEMENTS_EVIDENCE_UNUSABLE",
      "The report does not say which processor made it.",
      {
        hint: "Reports before version 3 do not: name the product (--product milan, genoa or turin).",
      },
    );
  }
  const kind = snpSigningKey(report) === "VLEK" ? "vlek" : "vcek";
  const table = readSnpCertificateTable(evidence.parts?.["auxblob"] ?? report.trailing);
  const service = `${baseUrl}/${kind}/v1/${PRODUCTS[product]}`;
  const leaf = kind === "vlek" ? table.vlek : table.vcek;
  const query = tcbQuery(report.reportedTcb, product);
  const id = toHex(report.chipId.subarray(0, HARDWARE_ID_BYTES[product]));
  if (leaf === undefined && kind === "vlek") {
    throw new CloisterError(
      "ENDORSEMENTS_EVIDENCE_UNUSABLE",
      "The report was signed by a VLEK, which only the host can add.",
    );
  }
  const [certificate, authorities, crl] = await allOrFirstFailure([
    leaf === undefined
      ? cache.get({ url: `${service}/${id}?${query}` }, acceptChip).then(({ bytes }) => bytes)
      : Promise.resolve(leaf),
    cache.get({ url: `${service}/cert_chain` }, acceptAuthorities).then(({ bytes }) => bytes),
    cache.get({ url: `${service}/crl` }, ({ bytes }) => parseCrl(bytes)).then(({ bytes }) => bytes),
  ]);
  return { tee: "sev-snp", parts: { [kind]: certificate, authorities, crl } };
}

function productOfTable(evidence: Evidence): SnpProduct | undefined {
  const { product } = describeSevSnp(evidence);
  return typeof product === "string" && Object.hasOwn(PRODUCTS, product)
    ? (product as SnpProduct)
    : undefined;
}

function tcbQuery(reportedTcb: Uint8Array, product: SnpProduct): string {
  const { fmc, bl, tee, snp, ucode } = readSnpTcb(reportedTcb, product);
  const fields = {
    ...(fmc === undefined ? {} : { fmcSPL: fmc }),
    blSPL: bl,
    teeSPL: tee,
    snpSPL: snp,
    ucodeSPL: ucode,
  };
  return Object.entries(fields)
    .map(([name, svn]) => `${name}=${String(svn).padStart(2, "0")}`)
    .join("&");
}

/** A chip's certificate for one TCB never changes. */
function acceptChip({ bytes }: { readonly bytes: Uint8Array }): { nextUpdateMs: undefined } {
  parseCertificate(bytes);
  return { nextUpdateMs: undefined };
}

function acceptAuthorities({ bytes }: { readonly bytes: Uint8Array }): { nextUpdateMs: number } {
  const chain = parsePemChain(fromUtf8(bytes));
  if (chain.length < 2)
    throw new CloisterError("ENDORSEMENTS_CONTENT_WRONG", "the answer is no chain of authorities");
  return { nextUpdateMs: Math.min(...chain.map(({ notAfterMs }) => notAfterMs)) };
}
