/**
 * Verifications per CPU-second: ours warm and cold, `@phala/dcap-qvl` (pure JavaScript), and the bare
 * node:crypto operations that a verification cannot do without. All contenders take turns in one process;
 * each figure is of the median round, each ratio the median of the rounds' ratios. `--json` ends with one
 * line for machines. The evidence is real; the folder of vectors is the argument or CLOISTER_VECTORS.
 *
 * Warm: the machine's certificates and the vendor's collateral were seen before; the evidence's own signature,
 * its parsing, every time window, revocation and TCB rule are checked each time. Cold: nothing was seen before.
 */
import { createPublicKey, verify as verifyBare, type KeyObject } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { verify, type Endorsements, type Evidence } from "@cloister/attestation";
import { atLeast, printReport } from "@cloister/tools/report";
import { QuoteVerifier } from "@phala/dcap-qvl";
import { parseQuote } from "../packages/attestation/src/evidence/dcap/index.ts";
import { parseSnpReport, snpSignature } from "../packages/attestation/src/evidence/sev-snp/report.ts";
import { forgetEverything } from "../packages/attestation/src/memo.ts";
import { parseCrl, parsePemChain, pemBlocks, type Certificate } from "../packages/attestation/src/x509.ts";
import { endorsementsOf } from "../packages/attestation/tools/judges/dcap.ts";
import type { VectorEntry } from "../packages/attestation/tools/judges/entry.ts";

const ROUNDS = 15;
const ROUND_MS = 120;
const GOALS = [
  ["tdx warm", 1500],
  ["tdx cold", 400],
  ["snp warm", 1100],
  ["tdx warm / phala", 10],
  ["tdx warm / bare", 0.7],
  ["snp warm / bare", 0.7],
] as const;

const named = process.argv.slice(2).find((argument) => !argument.startsWith("--"));
const folder = named ?? process.env["CLOISTER_VECTORS"] ?? join(import.meta.dirname, "../../shared/vectors");
if (!existsSync(join(folder, "index.json"))) {
  process.stderr.write(`The benchmark needs the attestation vectors; there are none in ${folder}.\n`);
  process.exit(2);
}
const load = (path: string): Uint8Array => new Uint8Array(readFileSync(join(folder, path)));
const { entries } = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as {
  entries: VectorEntry[];
};

interface Contender {
  readonly name: string;
  run(): void;
}

const contenders = [...tdx(entryOf("s-tdx-01")), ...snp(entryOf("s-sev-snp-02"))];
for (const { run } of contenders) run();
const rounds = Array.from({ length: ROUNDS }, () => new Map(contenders.map((one) => [one.name, rate(one)])));
report();

function entryOf(id: string): VectorEntry {
  const entry = entries.find((candidate) => candidate.id === id);
  if (entry === undefined) throw new Error(`the vectors have no entry ${id}`);
  return entry;
}

function tdx(entry: VectorEntry): Contender[] {
  const nowMs = Date.parse(entry.evaluationTime as string);
  const evidence: Evidence = { tee: "tdx", bytes: load(entry.files["quote"] as string) };
  const endorsements = endorsementsOf(entry, "tdx", load);
  const collateral = JSON.parse(
    readFileSync(join(folder, entry.files["collateral"] as string), "utf8"),
  ) as never;
  const peer = QuoteVerifier.newProd();
  const challenge = parseQuote(evidence.bytes).body.report.reportData;
  const ours = (): void => accepted(verify(evidence, endorsements, { nowMs, challenge }));
  return [
    { name: "tdx warm", run: ours },
    { name: "tdx cold", run: () => (forgetEverything(), ours()) },
    { name: "tdx phala", run: () => void peer.verify(Buffer.from(evidence.bytes), collateral, nowMs / 1000) },
    ...bareTdx(evidence, endorsements),
  ];
}

/** What warm and cold verification of a TDX quote must compute, whoever writes it, and nothing else. */
function bareTdx({ bytes }: Evidence, { parts }: Endorsements): Contender[] {
  const quote = parseQuote(bytes);
  const text = (part: Uint8Array | undefined): string => Buffer.from(part ?? []).toString();
  const pck = parsePemChain(text(quote.certificationData));
  const signer = parsePemChain(text(parts["tcbInfoIssuerChain"]));
  const point = Buffer.from(quote.attestationKey);
  const jwk = {
    kty: "EC",
    crv: "P-256",
    x: point.subarray(0, 32).toString("base64url"),
    y: point.subarray(32).toString("base64url"),
  };
  const [leaf] = pck;
  const [tcbSigner] = signer;
  if (leaf === undefined || tcbSigner === undefined) throw new Error("the vector has no certificates");
  const attestationKey = createPublicKey({ key: jwk, format: "jwk" });
  const pckKey = importKey(leaf);
  const own = (qe: KeyObject, attestation: KeyObject): boolean =>
    ecdsa("sha256", quote.qeReport.raw, qe, quote.qeReportSignature) &&
    ecdsa("sha256", quote.signed, attestation, quote.signature);
  const links = [...pck, ...signer.slice(0, 1)];
  const lists = [parts["pckCrl"], parts["rootCaCrl"]].map((list) => parseCrl(list as Uint8Array));
  return [
    { name: "tdx bare warm", run: () => must(own(pckKey, attestationKey)) },
    {
      name: "tdx bare cold",
      run: () => {
        const keys = [...pck.slice(0, 3), tcbSigner].map(importKey) as [
          KeyObject,
          KeyObject,
          KeyObject,
          KeyObject,
        ];
        const [pckKeyNow, authority, root, signerKey] = keys;
        const issuers = [authority, root, root, root];
        links.forEach((link, i) => must(ecdsa("sha256", link.tbs, issuers[i] as KeyObject, link.signature)));
        lists.forEach((list, i) =>
          must(ecdsa("sha256", list.tbs, [authority, root][i] as KeyObject, list.signature)),
        );
        for (const name of ["tcbInfo", "qeIdentity"]) {
          must(
            ecdsa("sha256", parts[name] as Uint8Array, signerKey, parts[`${name}Signature`] as Uint8Array),
          );
        }
        must(own(pckKeyNow, createPublicKey({ key: jwk, format: "jwk" })));
      },
    },
  ];
}

function snp(entry: VectorEntry): Contender[] {
  const nowMs = Date.parse(entry.evaluationTime as string);
  const evidence: Evidence = { tee: "sev-snp", bytes: load(entry.files["report"] as string) };
  const vcek = load(entry.files["vcek"] as string);
  const authorities = Buffer.concat(["ask", "ark"].map((name) => load(`anchors/amd-milan-${name}.pem`)));
  const endorsements: Endorsements = {
    tee: "sev-snp",
    parts: { vcek, authorities: new Uint8Array(authorities) },
  };
  const parsed = parseSnpReport(evidence.bytes);
  const key = createPublicKey({ key: Buffer.from(certificateKey(vcek)), format: "der", type: "spki" });
  const signature = snpSignature(parsed) as Uint8Array;
  return [
    {
      name: "snp warm",
      run: () => accepted(verify(evidence, endorsements, { nowMs, challenge: parsed.reportData })),
    },
    { name: "snp bare warm", run: () => must(ecdsa("sha384", parsed.signed, key, signature)) },
  ];
}

function certificateKey(der: Uint8Array): Uint8Array {
  const pem = `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64")}\n-----END CERTIFICATE-----\n`;
  const [certificate] = pemBlocks(pem).length === 1 ? parsePemChain(pem) : [];
  if (certificate === undefined) throw new Error("the vector's VCEK is not readable");
  return certificate.publicKey.spki;
}

function importKey({ publicKey }: Certificate): KeyObject {
  return createPublicKey({ key: Buffer.from(publicKey.spki), format: "der", type: "spki" });
}

function ecdsa(hash: string, message: Uint8Array, key: KeyObject, signature: Uint8Array): boolean {
  return verifyBare(hash, message, { key, dsaEncoding: "ieee-p1363" }, signature);
}

function must(genuine: boolean): void {
  if (!genuine) throw new Error("a signature of the benchmark's own does not verify");
}

function accepted(verdict: ReturnType<typeof verify>): void {
  if (!verdict.ok) throw new Error(JSON.stringify(verdict.refusals));
}

/** Runs per CPU-second, over about `ROUND_MS`. */
function rate({ run }: Contender): number {
  const started = process.cpuUsage();
  let usedUs = 0;
  let count = 0;
  while (usedUs < ROUND_MS * 1000) {
    for (let i = 0; i < 8; i++) run();
    count += 8;
    const used = process.cpuUsage(started);
    usedUs = used.user + used.system;
  }
  return (count * 1e6) / usedUs;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] as number;
}

function report(): void {
  const perCpuSecond = (name: string): number =>
    Math.round(median(rounds.map((round) => round.get(name) as number)));
  const ratio = (a: string, b: string): number =>
    Number(median(rounds.map((round) => (round.get(a) as number) / (round.get(b) as number))).toFixed(2));
  const figures: Record<string, number> = {
    ...Object.fromEntries(contenders.map(({ name }) => [name, perCpuSecond(name)])),
    "tdx warm / phala": ratio("tdx warm", "tdx phala"),
    "tdx cold / phala": ratio("tdx cold", "tdx phala"),
    "tdx warm / bare": ratio("tdx warm", "tdx bare warm"),
    "tdx cold / bare": ratio("tdx cold", "tdx bare cold"),
    "snp warm / bare": ratio("snp warm", "snp bare warm"),
  };
  process.stdout.write("verifications per CPU-second, medians of interleaved rounds\n");
  for (const [name, value] of Object.entries(figures)) process.stdout.write(`${name.padEnd(20)} ${value}\n`);
  const goals = GOALS.map(([figure, limit]) => atLeast(figure, figures[figure] ?? Number.NaN, limit));
  printReport({ name: "attestation", figures, goals }, process.argv.includes("--json"));
}
