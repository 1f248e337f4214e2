/** What a quote says, by the names that people and vectors use. */
import { digestOfDocument, fromHex, toHex, type Digest } from "@cloister/core";
import { Memo } from "../../memo.ts";
import type { Quote } from "./quote.ts";

/** Measurements of the TD or the enclave, by Intel's names, lower-case hex. */
export function measurementsOf({ body }: Quote): Record<string, string> {
  if (body.kind === "sgx") {
    const { mrEnclave, mrSigner, isvProdId, isvSvn } = body.report;
    const number = (value: number): string => value.toString(16).padStart(4, "0");
    const names = { mrEnclave: toHex(mrEnclave), mrSigner: toHex(mrSigner) };
    return { ...names, isvProdId: number(isvProdId), isvSvn: number(isvSvn) };
  }
  const { mrTd, mrConfigId, mrOwner, mrOwnerConfig, rtmrs, mrServiceTd } = body.report;
  const [rtmr0, rtmr1, rtmr2, rtmr3] = rtmrs.map(toHex) as [string, string, string, string];
  const owner = {
    mrConfigId: toHex(mrConfigId),
    mrOwner: toHex(mrOwner),
    mrOwnerConfig: toHex(mrOwnerConfig),
  };
  const measured = { mrTd: toHex(mrTd), rtmr0, rtmr1, rtmr2, rtmr3, ...owner };
  return mrServiceTd === undefined ? measured : { ...measured, mrServiceTd: toHex(mrServiceTd) };
}

const digests = new Memo<Digest>(512);

/** The one digest that names a TD's or an enclave's measurements. spec/attestation.md §4 */
export function dcapMeasurement(tee: "sgx" | "tdx", measurements: Readonly<Record<string, string>>): Digest {
  const key = `${tee} ${Object.entries(measurements).join(" ")}`;
  let digest = digests.get(key);
  if (digest === undefined) {
    const bytes = Object.entries(measurements).map(([name, hex]) => [name, fromHex(hex)] as const);
    digest = digestOfDocument({ tee, ...Object.fromEntries(bytes) });
    digests.set(key, digest);
  }
  return digest;
}

/** Everything that a reader may want to see of a quote; bytes as lower-case hex. */
export function quoteFacts(quote: Quote, measurements = measurementsOf(quote)): Record<string, unknown> {
  const { body, version, trailingBytes } = quote;
  const common = { version, teeType: body.kind.toUpperCase(), trailingBytes };
  if (body.kind === "sgx") {
    const { isvProdId, isvSvn, reportData, attributes, cpuSvn } = body.report;
    const hex = { reportData: toHex(reportData), attributes: toHex(attributes), cpuSvn: toHex(cpuSvn) };
    return { ...common, ...measurements, ...hex, isvProdId, isvSvn };
  }
  const { report } = body;
  return {
    ...common,
    ...measurements,
    reportData: toHex(report.reportData),
    teeTcbSvn: toHex(report.teeTcbSvn),
    ...(report.teeTcbSvn2 === undefined ? {} : { teeTcbSvn2: toHex(report.teeTcbSvn2) }),
    mrSeam: toHex(report.mrSeam),
    mrSignerSeam: toHex(report.mrSignerSeam),
    seamAttributes: toHex(report.seamAttributes),
    tdAttributes: toHex(report.tdAttributes),
    xfam: toHex(report.xfam),
  };
}

/** Tells whether the host can read the enclave's or the TD's memory. */
export function isDebug({ body }: Quote): boolean {
  // TD attributes: the first byte is the group of bits "TD under debug". SGX: bit 1 is DEBUG.
  return body.kind === "tdx"
    ? body.report.tdAttributes[0] !== 0
    : ((body.report.attributes[0] as number) & 2) !== 0;
}
