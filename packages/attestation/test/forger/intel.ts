/**
 * A fake Intel that signs whatever a test wants: every certificate, list, document and quote can be wrong
 * in one respect and genuine in all others. Nothing of it is trusted unless `roots` is handed to `verify`.
 */
import { concat, fromHex, sha256, utf8 } from "@cloister/core";
import {
  der,
  derInteger,
  derOctets,
  derOid,
  derSequence,
  nameOf,
  pinOf,
  TAG,
  toPem,
  usageExtensions,
  type CertificateFields,
  type Endorsements,
  type Evidence,
  type TrustRoots,
} from "../../src/index.ts";
import {
  FORGED_NOW_MS,
  forgeCertificate,
  forgeCrl,
  type CertificateTwist,
  type CrlTwist,
} from "./certificates.ts";
import { forgedKey, type ForgedKey } from "./keys.ts";

export { FORGED_NOW_MS };

const SGX_EXTENSIONS = "1.2.840.113741.1.13.1";
const EXTENDED_KEY_USAGE = "2.5.29.37";

const keys = {
  root: forgedKey("Intel root"),
  authority: forgedKey("Intel PCK authority"),
  signer: forgedKey("Intel TCB signer"),
  pck: forgedKey("PCK"),
  attestation: forgedKey("attestation key"),
  stranger: forgedKey("a stranger"),
};
export const forgedKeys: Readonly<Record<keyof typeof keys, ForgedKey>> = keys;

const names = {
  root: nameOf("Forged SGX Root CA", "Forger"),
  authority: nameOf("Forged SGX PCK Platform CA", "Forger"),
  signer: nameOf("Forged SGX TCB Signing", "Forger"),
  pck: nameOf("Forged SGX PCK Certificate", "Forger"),
};

/** Trust in the fake root; without it everything here is refused. */
export const forgedIntelRoots: TrustRoots = {
  simulated: false,
  pins: { intel: [pinOf(keys.root.publicKey)] },
};

export interface Level {
  readonly components?: readonly number[];
  readonly tdx?: readonly number[];
  readonly pceSvn?: number;
  readonly status: string;
  readonly advisoryIds?: readonly string[];
}

export interface ModuleLevel {
  readonly isvSvn: number;
  readonly status: string;
  readonly advisoryIds?: readonly string[];
}

/** One forgery: everything left out is genuine and up to date. */
export interface IntelForgery {
  readonly tee?: "tdx" | "sgx";
  readonly version?: 3 | 4 | 5;
  readonly debug?: boolean;
  readonly reportData?: Uint8Array;
  readonly mrTd?: Uint8Array;
  readonly teeTcbSvn?: readonly number[];
  readonly teeTcbSvn2?: readonly number[];
  readonly mrSignerSeam?: Uint8Array;
  readonly seamAttributes?: Uint8Array;
  readonly seamAttributesMask?: string;
  readonly qeIsvSvn?: number;
  readonly qeMrSigner?: Uint8Array;
  readonly qeSignedBy?: ForgedKey;
  readonly qeAuthDataInReport?: Uint8Array;
  readonly quoteSignedBy?: ForgedKey;
  readonly components?: readonly number[];
  readonly leaf?: CertificateTwist;
  readonly authority?: CertificateTwist;
  readonly root?: CertificateTwist;
  readonly signer?: CertificateTwist;
  readonly chain?: (chain: readonly Uint8Array[]) => readonly Uint8Array[];
  readonly chainInDer?: boolean;
  readonly levels?: readonly Level[];
  readonly modules?: Readonly<Record<string, readonly ModuleLevel[]>>;
  readonly qeLevels?: readonly ModuleLevel[];
  readonly tcbInfo?: Readonly<Record<string, unknown>>;
  readonly qeIdentity?: Readonly<Record<string, unknown>>;
  readonly collateralSignedBy?: ForgedKey;
  readonly revoked?: "pck" | "authority" | "signer";
  readonly crl?: Omit<CrlTwist, "revoked">;
  readonly withoutCrls?: boolean;
}

/** Forges evidence and endorsements that `verify` accepts under `forgedIntelRoots`, save for what is twisted. */
export function forgeIntel(forgery: IntelForgery = {}): { evidence: Evidence; endorsements: Endorsements } {
  const tee = forgery.tee ?? "tdx";
  return {
    evidence: { tee, bytes: forgeQuote(forgery) },
    endorsements: { tee, parts: forgeCollateral(forgery) },
  };
}

const SERIALS = { root: [1], authority: [2], signer: [3], pck: [4, 0x11] } as const;

function certificate(
  role: keyof typeof names,
  issuerRole: "root" | "authority",
  extensions: CertificateFields["extensions"],
  twist?: CertificateTwist,
): Uint8Array {
  const [serial, issuer, subject] = [SERIALS[role], names[issuerRole], names[role]];
  return forgeCertificate(
    { serial, issuer, subject, extensions, key: keys[role], by: keys[issuerRole] },
    twist,
  );
}

/** The fake root's certificate. */
export function rootCertificate({ root }: IntelForgery = {}): Uint8Array {
  return certificate("root", "root", usageExtensions({ authority: true, pathLengthMax: 1 }), root);
}

/** An extendedKeyUsage extension with one purpose. */
export function purposeExtension(oid: string): CertificateFields["extensions"][number] {
  return { oid: EXTENDED_KEY_USAGE, critical: false, value: derSequence(derOid(oid)) };
}

export const GENUINE_COMPONENTS: readonly number[] = [3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];

function sgxExtension(components: readonly number[]): CertificateFields["extensions"][number] {
  const member = (n: string, value: Uint8Array): Uint8Array =>
    derSequence(derOid(`${SGX_EXTENSIONS}.${n}`), value);
  const tcb = [
    ...components.map((svn, i) => member(`2.${i + 1}`, derInteger(svn))),
    member("2.17", derInteger(11)),
  ];
  const value = derSequence(
    member("1", derOctets(new Uint8Array(16).fill(0xab))),
    member("2", derSequence(...tcb, member("2.18", derOctets(new Uint8Array(components))))),
    member("3", derOctets(fromHex("0000"))),
    member("4", derOctets(fromHex("00f06f000000"))),
    member("5", der(TAG.enumerated, new Uint8Array([1]))),
  );
  return { oid: SGX_EXTENSIONS, critical: false, value };
}

function pckChain(forgery: IntelForgery): Uint8Array {
  const usage = usageExtensions({ authority: false });
  const extensions = [...usage, sgxExtension(forgery.components ?? GENUINE_COMPONENTS)];
  const leaf = certificate("pck", "authority", extensions, forgery.leaf);
  const authorityUsage = usageExtensions({ authority: true, pathLengthMax: 0 });
  const authority = certificate("authority", "root", authorityUsage, forgery.authority);
  const chain = [leaf, authority, rootCertificate(forgery)];
  const given = forgery.chain?.(chain) ?? chain;
  return forgery.chainInDer === true ? concat(...given) : utf8(toPem(...given));
}

const LATEST_SVN: readonly number[] = [6, 1, 3, ...Array.from({ length: 13 }, () => 0)];

function forgeCollateral(forgery: IntelForgery): Record<string, Uint8Array> {
  const sign = (forgery.collateralSignedBy ?? keys.signer).sign;
  const tcbInfo = utf8(JSON.stringify({ ...tcbInfoDocument(forgery), ...forgery.tcbInfo }));
  const qeIdentity = utf8(JSON.stringify({ ...qeIdentityDocument(forgery), ...forgery.qeIdentity }));
  const usage = usageExtensions({ authority: false });
  const issuerChain = utf8(
    toPem(certificate("signer", "root", usage, forgery.signer), rootCertificate(forgery)),
  );
  const statements = {
    tcbInfo,
    tcbInfoSignature: sign(tcbInfo),
    qeIdentity,
    qeIdentitySignature: sign(qeIdentity),
  };
  const chains = { tcbInfoIssuerChain: issuerChain, qeIdentityIssuerChain: issuerChain };
  return { ...statements, ...chains, ...(forgery.withoutCrls === true ? {} : forgeCrls(forgery)) };
}

function forgeCrls({ revoked, crl = {} }: IntelForgery): Record<"pckCrl" | "rootCaCrl", Uint8Array> {
  const day = { thisUpdateMs: FORGED_NOW_MS - 86_400_000, nextUpdateMs: FORGED_NOW_MS + 86_400_000 };
  const list = (issuer: "root" | "authority", roles: readonly (typeof revoked)[]): Uint8Array => {
    const serials =
      revoked === undefined || !roles.includes(revoked) ? [] : [new Uint8Array(SERIALS[revoked])];
    return forgeCrl(names[issuer], keys[issuer], { ...day, ...crl, revoked: serials });
  };
  return { pckCrl: list("authority", ["pck"]), rootCaCrl: list("root", ["authority", "signer"]) };
}

const DATES = {
  issueDate: new Date(FORGED_NOW_MS - 86_400_000).toISOString(),
  nextUpdate: new Date(FORGED_NOW_MS + 86_400_000).toISOString(),
};

function tcbInfoDocument(forgery: IntelForgery): Record<string, unknown> {
  const { tee = "tdx", levels, modules, seamAttributesMask } = forgery;
  const svns = (components: readonly number[]): unknown => components.map((svn) => ({ svn }));
  const attributesMask = seamAttributesMask ?? "FF".repeat(8);
  const module = { mrsigner: "00".repeat(48), attributes: "00".repeat(8), attributesMask };
  const described = modules ?? { TDX_01: [{ isvSvn: 6, status: "UpToDate" }] };
  return {
    ...{ id: tee.toUpperCase(), version: 3, ...DATES, fmspc: "00F06F000000", pceId: "0000", tcbType: 0 },
    tcbEvaluationDataNumber: 19,
    ...(tee === "tdx" ? { tdxModule: module } : {}),
    tdxModuleIdentities: Object.entries(described).map(([id, list]) => ({
      id,
      ...module,
      tcbLevels: list.map(svnLevel),
    })),
    tcbLevels: (levels ?? [{ status: "UpToDate" }]).map((level) => ({
      tcb: {
        sgxtcbcomponents: svns(level.components ?? GENUINE_COMPONENTS),
        pcesvn: level.pceSvn ?? 11,
        ...(tee === "tdx" ? { tdxtcbcomponents: svns(level.tdx ?? LATEST_SVN) } : {}),
      },
      tcbDate: DATES.issueDate,
      tcbStatus: level.status,
      ...(level.advisoryIds === undefined ? {} : { advisoryIDs: level.advisoryIds }),
    })),
  };
}

function svnLevel({ isvSvn, status, advisoryIds }: ModuleLevel): unknown {
  const level = { tcb: { isvsvn: isvSvn }, tcbDate: DATES.issueDate, tcbStatus: status };
  return advisoryIds === undefined ? level : { ...level, advisoryIDs: advisoryIds };
}

const QE_SIGNER = sha256(utf8("signer of the forged quoting enclave"));

function qeIdentityDocument({ tee = "tdx", qeLevels }: IntelForgery): Record<string, unknown> {
  return {
    ...{ id: tee === "tdx" ? "TD_QE" : "QE", version: 2, ...DATES, tcbEvaluationDataNumber: 19 },
    ...{ miscselect: "00000000", miscselectMask: "FFFFFFFF" },
    ...{ attributes: "11000000000000000000000000000000", attributesMask: "FBFFFFFFFFFFFFFF0000000000000000" },
    mrsigner: Array.from(QE_SIGNER, (byte) => byte.toString(16).padStart(2, "0"))
      .join("")
      .toUpperCase(),
    isvprodid: 2,
    tcbLevels: (qeLevels ?? [{ isvSvn: 4, status: "UpToDate" }]).map(svnLevel),
  };
}

const INTEL_VENDOR = fromHex("939a7233f79c4ca9940a0db3957f0607");

function forgeQuote(forgery: IntelForgery): Uint8Array {
  const { tee = "tdx", version = tee === "tdx" ? 4 : 3 } = forgery;
  const header = concat(
    u16(version),
    u16(2),
    u32(tee === "tdx" ? 0x81 : 0),
    u32(0),
    INTEL_VENDOR,
    new Uint8Array(20),
  );
  const body = tee === "tdx" ? tdReport(forgery) : enclaveReport(forgery);
  const bodyType = tee === "sgx" ? 1 : body.length === 584 ? 2 : 3;
  const signed = concat(header, ...(version === 5 ? [u16(bodyType), u32(body.length)] : []), body);
  const attestationKey = keys.attestation.publicKey.raw.subarray(1);
  const authData = utf8("authentication data of the QE...");
  const bound = sha256(concat(attestationKey, forgery.qeAuthDataInReport ?? authData));
  const qeReport = qeReportOver(concat(bound, new Uint8Array(32)), forgery);
  const chain = pckChain(forgery);
  const certification = concat(
    ...[qeReport, (forgery.qeSignedBy ?? keys.pck).sign(qeReport), u16(authData.length), authData],
    ...[u16(5), u32(chain.length), chain],
  );
  const nested = version === 3 ? certification : concat(u16(6), u32(certification.length), certification);
  const data = concat((forgery.quoteSignedBy ?? keys.attestation).sign(signed), attestationKey, nested);
  return concat(signed, u32(data.length), data);
}

function tdReport(forgery: IntelForgery): Uint8Array {
  const { teeTcbSvn = LATEST_SVN, teeTcbSvn2, debug, mrTd, reportData } = forgery;
  const { mrSignerSeam, seamAttributes } = forgery;
  const zeros = (count: number): Uint8Array => new Uint8Array(count);
  const report = concat(
    ...[new Uint8Array(teeTcbSvn), zeros(48), mrSignerSeam ?? zeros(48), seamAttributes ?? zeros(8)],
    ...[new Uint8Array([debug === true ? 1 : 0, 0, 0, 0x10, 0, 0, 0, 0]), zeros(8)],
    ...[mrTd ?? new Uint8Array(48).fill(0x11), zeros(48), zeros(48), zeros(48), zeros(4 * 48)],
    reportData ?? zeros(64),
  );
  return teeTcbSvn2 === undefined ? report : concat(report, new Uint8Array(teeTcbSvn2), zeros(48));
}

function enclaveReport({ debug, mrTd, reportData }: IntelForgery): Uint8Array {
  const raw = new Uint8Array(384);
  raw[48] = debug === true ? 7 : 5;
  raw.set(mrTd?.subarray(0, 32) ?? new Uint8Array(32).fill(0x11), 64);
  raw.set(reportData ?? new Uint8Array(64), 320);
  return raw;
}

function qeReportOver(reportData: Uint8Array, { qeMrSigner, qeIsvSvn }: IntelForgery): Uint8Array {
  const raw = new Uint8Array(384);
  raw[48] = 0x11;
  raw.set(qeMrSigner ?? QE_SIGNER, 128);
  raw.set([2, 0, qeIsvSvn ?? 4, 0], 256);
  raw.set(reportData, 320);
  return raw;
}

function u16(value: number): Uint8Array {
  return new Uint8Array([value & 0xff, value >> 8]);
}

function u32(value: number): Uint8Array {
  return new Uint8Array([value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24]);
}
