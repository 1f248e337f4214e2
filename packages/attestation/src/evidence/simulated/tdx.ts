/** Simulated TDX: quotes of version 4 in Intel's true layout, under the simulation's root. */
import { concat, ecdsaSign, fromHex, hkdfSha256, sha256, toHex, utf8 } from "@cloister/core";
import { der, derInteger, derOctets, derOid, derSequence, TAG } from "../../der.ts";
import type { Endorsements } from "../../types.ts";
import { buildCrl, nameOf, toPem, usageExtensions } from "../../x509.ts";
import { SGX_EXTENSIONS } from "../dcap/pck.ts";
import { encodeTdxQuoteV4, readEnclaveReport } from "../dcap/quote.ts";
import type { DcapParts } from "../dcap/index.ts";
import {
  certify,
  keyFromSecret,
  NOT_AFTER_MS,
  ORGANIZATION,
  rootCertificate,
  rootKey,
  rootName,
  simulationKey,
  type SimulationKey,
} from "./authority.ts";

const DAY_MS = 86_400_000;
const FMSPC = "00c100000000";
const PCE_ID = "0000";
const PCE_SVN = 11;
/** What the vendor's advisory about firmware that it no longer calls up to date is named. */
const ADVISORY = "SIMULATED-SA-00001";
/** Module version 1, security version 5: judged by the module identity TDX_01. */
const TEE_TCB_SVN = new Uint8Array([5, 1, 3, ...Array.from({ length: 13 }, () => 0)]);
const MR_SEAM = repeat(sha256(utf8("simulated TDX module")), 48);
const MR_SIGNER_QE = sha256(utf8("signer of the simulated quoting enclave"));
/** SEPT_VE_DISABLE, as production TDs have it. */
const TD_ATTRIBUTES = new Uint8Array([0, 0, 0, 0x10, 0, 0, 0, 0]);
const TD_ATTRIBUTE_DEBUG = 1;
const XFAM = new Uint8Array([0xe7, 0x02, 0x06, 0, 0, 0, 0, 0]);

const pckAuthorityKey = simulationKey("PCK authority");
const pckAuthorityName = nameOf("Simulation PCK Platform CA", ORGANIZATION);
const pckAuthority = certify("pck authority", pckAuthorityName, pckAuthorityKey.publicKey, {
  by: { key: rootKey, name: rootName },
  extensions: usageExtensions({ authority: true, pathLengthMax: 0 }),
});
const tcbSignerKey = simulationKey("TCB signing");
const tcbSigner = certify(
  "tcb signing",
  nameOf("Simulation TCB Signing", ORGANIZATION),
  tcbSignerKey.publicKey,
  {
    by: { key: rootKey, name: rootName },
    extensions: usageExtensions({ authority: false }),
  },
);

/** One simulated machine: its keys follow from a seed that stays on that machine. */
export interface SimulatedPlatform {
  /** Lower-case hex, 16 bytes. */
  readonly ppid: string;
  readonly pck: SimulationKey;
  readonly attestation: SimulationKey;
  readonly pckChainPem: Uint8Array;
  /** From which sealing keys are derived; it never leaves the machine. */
  readonly sealingSecret: Uint8Array;
}

/** What the simulated machine measured of a TD when it launched, and what the TD asks to be bound. */
export interface SimulatedTd {
  /** 48 bytes. */
  readonly mrTd: Uint8Array;
  /** Four times 48 bytes. */
  readonly rtmrs: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  /** 64 bytes. */
  readonly reportData: Uint8Array;
  readonly debug?: boolean;
}

/**
 * Makes the machine that a seed of 32 bytes stands for. Its firmware is counted from 1 and stands in its PCK
 * certificate; with a later one it is the same machine still.
 */
export function createSimulatedPlatform(seed: Uint8Array, firmware = 1): SimulatedPlatform {
  const derive = (what: string, length = 32): Uint8Array =>
    hkdfSha256(seed, new Uint8Array(0), utf8(`cloister simulated platform: ${what}`), length);
  const pck = keyFromSecret(derive("PCK"));
  const ppid = toHex(derive("PPID", 16));
  const leaf = certify(
    pckLabel(ppid, firmware),
    nameOf("Simulation PCK Certificate", ORGANIZATION),
    pck.publicKey,
    {
      by: { key: pckAuthorityKey, name: pckAuthorityName },
      extensions: [
        ...usageExtensions({ authority: false }),
        { oid: SGX_EXTENSIONS, critical: false, value: sgxExtension(ppid, firmware) },
      ],
    },
  );
  return {
    ppid,
    pck,
    attestation: keyFromSecret(derive("attestation")),
    pckChainPem: utf8(toPem(leaf, pckAuthority, rootCertificate)),
    sealingSecret: derive("sealing"),
  };
}

/** Makes a quote over a TD, as the machine's quoting enclave would. */
export function simulatedTdxQuote(platform: SimulatedPlatform, td: SimulatedTd): Uint8Array {
  const attestationKey = platform.attestation.publicKey.raw.subarray(1);
  const qeAuthData = utf8("simulated quoting enclave.......");
  const qeReport = enclaveReport(concat(sha256(concat(attestationKey, qeAuthData)), new Uint8Array(32)));
  const tdAttributes = TD_ATTRIBUTES.slice();
  if (td.debug === true) tdAttributes[0] = TD_ATTRIBUTE_DEBUG;
  return encodeTdxQuoteV4({
    report: {
      teeTcbSvn: TEE_TCB_SVN,
      mrSeam: MR_SEAM,
      mrSignerSeam: new Uint8Array(48),
      seamAttributes: new Uint8Array(8),
      tdAttributes,
      xfam: XFAM,
      mrTd: td.mrTd,
      mrConfigId: new Uint8Array(48),
      mrOwner: new Uint8Array(48),
      mrOwnerConfig: new Uint8Array(48),
      rtmrs: td.rtmrs,
      reportData: td.reportData,
    },
    sign: (signed) => ecdsaSign("P-256", platform.attestation.secret, signed),
    attestationKey,
    qeReport,
    qeReportSignature: ecdsaSign("P-256", platform.pck.secret, qeReport),
    qeAuthData,
    pckChainPem: platform.pckChainPem,
  });
}

/**
 * The collateral that the simulation's vendor publishes on the day of `nowMs`, when it calls firmware from
 * `firmwareMin` on up to date and anything older out of date. The same day gives the same bytes, so callers may
 * keep it for a day.
 */
export function simulationEndorsements(nowMs: number, firmwareMin = 1): Endorsements {
  const dayMs = Math.floor(nowMs / DAY_MS) * DAY_MS;
  const dates = { issueDate: isoSeconds(dayMs - DAY_MS), nextUpdate: isoSeconds(dayMs + 30 * DAY_MS) };
  const tcbInfo = utf8(JSON.stringify(tcbInfoDocument(dates, firmwareMin)));
  const qeIdentity = utf8(JSON.stringify(qeIdentityDocument(dates, firmwareMin)));
  const signerChain = utf8(toPem(tcbSigner, rootCertificate));
  const times = {
    thisUpdateMs: dayMs - DAY_MS,
    nextUpdateMs: dayMs + 30 * DAY_MS,
    number: dayMs / DAY_MS,
    revoked: [],
  };
  const parts: DcapParts = {
    tcbInfo,
    tcbInfoSignature: ecdsaSign("P-256", tcbSignerKey.secret, tcbInfo),
    tcbInfoIssuerChain: signerChain,
    qeIdentity,
    qeIdentitySignature: ecdsaSign("P-256", tcbSignerKey.secret, qeIdentity),
    qeIdentityIssuerChain: signerChain,
    pckCrl: buildCrl({ issuer: pckAuthorityName, ...times }, pckAuthorityKey.issuer),
    rootCaCrl: buildCrl({ issuer: rootName, ...times }, rootKey.issuer),
  };
  return { tee: "tdx", parts: { ...parts } };
}

/** The last moment that simulated certificates hold. */
export const SIMULATION_ENDS_MS = NOT_AFTER_MS;

interface Dates {
  readonly issueDate: string;
  readonly nextUpdate: string;
}

function tcbInfoDocument(dates: Dates, firmwareMin: number): Record<string, unknown> {
  const zeros = (bytes: number): string => "00".repeat(bytes);
  const svns = (components: readonly number[]): { svn: number }[] => components.map((svn) => ({ svn }));
  const level = (firmware: number, rating: object): object => ({
    tcb: {
      sgxtcbcomponents: svns(componentsOf(firmware)),
      pcesvn: PCE_SVN,
      tdxtcbcomponents: svns([...TEE_TCB_SVN]),
    },
    tcbDate: dates.issueDate,
    ...rating,
  });
  const outOfDate = level(1, { tcbStatus: "OutOfDate", advisoryIDs: [ADVISORY] });
  return {
    id: "TDX",
    version: 3,
    ...dates,
    fmspc: FMSPC,
    pceId: PCE_ID,
    tcbType: 0,
    tcbEvaluationDataNumber: firmwareMin,
    tdxModule: { mrsigner: zeros(48), attributes: zeros(8), attributesMask: "FF".repeat(8) },
    tdxModuleIdentities: [
      {
        id: "TDX_01",
        mrsigner: zeros(48),
        attributes: zeros(8),
        attributesMask: "FF".repeat(8),
        tcbLevels: [{ tcb: { isvsvn: 5 }, tcbDate: dates.issueDate, tcbStatus: "UpToDate" }],
      },
    ],
    tcbLevels: [level(firmwareMin, { tcbStatus: "UpToDate" }), ...(firmwareMin > 1 ? [outOfDate] : [])],
  };
}

function qeIdentityDocument(dates: Dates, firmwareMin: number): Record<string, unknown> {
  return {
    id: "TD_QE",
    version: 2,
    ...dates,
    tcbEvaluationDataNumber: firmwareMin,
    miscselect: "00000000",
    miscselectMask: "FFFFFFFF",
    attributes: "11000000000000000000000000000000",
    attributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
    mrsigner: toHex(MR_SIGNER_QE).toUpperCase(),
    isvprodid: 2,
    tcbLevels: [{ tcb: { isvsvn: 4 }, tcbDate: dates.issueDate, tcbStatus: "UpToDate" }],
  };
}

/** The report of the simulated quoting enclave (384 bytes), over its report data. */
function enclaveReport(reportData: Uint8Array): Uint8Array {
  const raw = new Uint8Array(384);
  const fields = readEnclaveReport(raw);
  fields.attributes[0] = 0x11;
  fields.mrEnclave.set(sha256(utf8("simulated quoting enclave")));
  fields.mrSigner.set(MR_SIGNER_QE);
  raw.set([2, 0, 4, 0], 256);
  fields.reportData.set(reportData);
  return raw;
}

/** Security versions of the platform's components; its firmware is the first of them. */
function componentsOf(firmware: number): number[] {
  return Array.from({ length: 16 }, (_, i) => (i === 0 ? 2 + firmware : i < 8 ? 3 : 0));
}

function pckLabel(ppid: string, firmware: number): string {
  return firmware === 1 ? `pck ${ppid}` : `pck ${ppid} firmware ${firmware}`;
}

function sgxExtension(ppid: string, firmware: number): Uint8Array {
  const member = (n: string, value: Uint8Array): Uint8Array =>
    derSequence(derOid(`${SGX_EXTENSIONS}.${n}`), value);
  const hex = (text: string): Uint8Array => derOctets(fromHex(text));
  const svns = componentsOf(firmware);
  const components = svns.map((svn, i) => member(`2.${i + 1}`, derInteger(svn)));
  return derSequence(
    member("1", hex(ppid)),
    member(
      "2",
      derSequence(
        ...components,
        member("2.17", derInteger(PCE_SVN)),
        member("2.18", derOctets(new Uint8Array(svns))),
      ),
    ),
    member("3", hex(PCE_ID)),
    member("4", hex(FMSPC)),
    member("5", der(TAG.enumerated, new Uint8Array([1]))),
  );
}

function isoSeconds(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(".000Z", "Z");
}

function repeat(bytes: Uint8Array, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => bytes[i % bytes.length] as number);
}
