/** From collateral and a quote to one TCB status: Intel's rules (DCAP Quote Verification Library, "TCB status"). */
import { accept, equalBytes, fromHex, refuse, toHex, type Verdict } from "@cloister/core";
import type { TcbStatus } from "../../types.ts";
import type { EnclaveIdentity, SvnLevel, TcbInfo, TcbLevel, TdxModuleIdentity } from "./collateral.ts";
import type { PckFacts } from "./pck.ts";
import type { EnclaveReport, TdReport } from "./quote.ts";

export interface TcbJudgement {
  readonly status: TcbStatus;
  readonly advisoryIds: readonly string[];
}

/** The level of an SGX platform. Code: `DCAP_TCB_NOT_SUPPORTED`. */
export function judgeSgxPlatform(info: TcbInfo, pck: PckFacts): Verdict<TcbJudgement> {
  const level = info.levels.find((candidate) => coversSgx(candidate, pck));
  return level === undefined ? notSupported() : accept(level);
}

/**
 * The level of a TDX platform, converged with its TDX module's. Where the module has an identity of its
 * own (second byte of the SVN above 0), the first two components are the module's and are judged there.
 * `enclave` is what the quoting enclave came to: a relaunch heals no enclave.
 * Codes: `DCAP_TCB_NOT_SUPPORTED`, `TDX_MODULE_UNKNOWN`, `TDX_MODULE_MISMATCH`.
 */
export function judgeTdxPlatform(
  info: TcbInfo,
  pck: PckFacts,
  td: TdReport,
  enclave: TcbStatus,
): Verdict<TcbJudgement> {
  const hardware = info.levels.find((candidate) => coversSgx(candidate, pck));
  const platform = info.levels.find(
    (candidate) => coversSgx(candidate, pck) && coversTdx(candidate, td.teeTcbSvn),
  );
  if (hardware === undefined || platform === undefined) return notSupported();
  const module = judgeModule(info, td);
  if (!module.ok || module.value === undefined) return module.ok ? accept(platform) : module;
  const status = converge(platform.status, module.value.status);
  const behind = status === "OutOfDate" || status === "OutOfDateConfigurationNeeded";
  const healed =
    behind && module.value.status === "OutOfDate" && enclave === "UpToDate" && !BEHIND.has(hardware.status)
      ? moduleIsLatestNow(info, td)
      : accept(false);
  if (!healed.ok) return healed;
  const configuration = [hardware.status, status].some((one) => one.includes("Configuration"));
  return accept({
    status: !healed.value
      ? status
      : configuration
        ? "TDRelaunchAdvisedConfigurationNeeded"
        : "TDRelaunchAdvised",
    advisoryIds: [...platform.advisoryIds, ...module.value.advisoryIds],
  });
}

const BEHIND: ReadonlySet<TcbStatus> = new Set(["OutOfDate", "OutOfDateConfigurationNeeded", "Revoked"]);

/** The level of a quoting enclave. Codes: `DCAP_QE_MISMATCH`, `DCAP_TCB_NOT_SUPPORTED`. */
export function judgeQuotingEnclave(identity: EnclaveIdentity, report: EnclaveReport): Verdict<TcbJudgement> {
  const same =
    maskedEqual(report.miscSelect, fromHex(identity.miscSelect), fromHex(identity.miscSelectMask)) &&
    maskedEqual(report.attributes, fromHex(identity.attributes), fromHex(identity.attributesMask)) &&
    toHex(report.mrSigner) === identity.mrSigner &&
    report.isvProdId === identity.isvProdId;
  if (!same)
    return refuse("DCAP_QE_MISMATCH", "The quoting enclave is not the one that Intel's identity describes.");
  const level = bySvn(identity.levels, report.isvSvn);
  return level === undefined ? notSupported() : accept(level);
}

/** Two statuses into one: whatever is out of date or revoked in either is so in the whole. */
export function converge(platform: TcbStatus, part: TcbStatus): TcbStatus {
  if (platform === "Revoked" || part === "Revoked") return "Revoked";
  if (part !== "OutOfDate" && part !== "OutOfDateConfigurationNeeded") return platform;
  switch (platform) {
    case "UpToDate":
    case "SWHardeningNeeded":
    case "TDRelaunchAdvised":
      return "OutOfDate";
    case "ConfigurationNeeded":
    case "ConfigurationAndSWHardeningNeeded":
    case "TDRelaunchAdvisedConfigurationNeeded":
      return "OutOfDateConfigurationNeeded";
    default:
      return platform;
  }
}

function judgeModule(info: TcbInfo, td: TdReport): Verdict<SvnLevel | undefined> {
  const [svn = 0, version = 0] = td.teeTcbSvn;
  const own = version === 0 ? undefined : moduleIdentity(info, version);
  const described = version === 0 ? info.tdxModule : own;
  if (described === undefined) return moduleUnknown(version);
  // No attribute of a TDX module has a meaning yet: Intel's library, too, wants them to be zero, mask or no mask.
  const same =
    toHex(td.mrSignerSeam) === described.mrSigner &&
    td.seamAttributes.every((byte) => byte === 0) &&
    maskedEqual(td.seamAttributes, fromHex(described.attributes), fromHex(described.attributesMask));
  if (!same)
    return refuse("TDX_MODULE_MISMATCH", "The TDX module was not signed by whom Intel's TCB info names.");
  if (own === undefined) return accept(undefined);
  const level = bySvn(own.levels, svn);
  return level === undefined ? notSupported() : accept(level);
}

/**
 * TD 1.5 bodies also tell the module as it is now (TEE_TCB_SVN2). Where the one that the TD was launched under
 * is out of date and the one now is at the latest level, relaunching the TD is all that is needed.
 */
function moduleIsLatestNow(info: TcbInfo, { teeTcbSvn2 }: TdReport): Verdict<boolean> {
  if (teeTcbSvn2 === undefined) return accept(false);
  const [svn = 0, version = 0, loader = 0] = teeTcbSvn2;
  const [latestSvn, , latestLoader] = info.levels[0]?.tdxComponents ?? [];
  if (latestSvn === undefined || latestLoader === undefined) return accept(false);
  if (version === 0) return accept(svn >= latestSvn && loader >= latestLoader);
  const now = moduleIdentity(info, version);
  if (now === undefined) return moduleUnknown(version);
  const [newest] = now.levels;
  return newest === undefined ? notSupported() : accept(svn >= newest.isvSvn && loader >= latestLoader);
}

function moduleIdentity(info: TcbInfo, version: number): TdxModuleIdentity | undefined {
  const id = `TDX_${version.toString(16).padStart(2, "0")}`.toUpperCase();
  return info.tdxModuleIdentities.find((identity) => identity.id.toUpperCase() === id);
}

function moduleUnknown(version: number): Verdict<never> {
  return refuse("TDX_MODULE_UNKNOWN", `Intel's TCB info describes no TDX module of version ${version}.`);
}

function coversSgx(level: TcbLevel, pck: PckFacts): boolean {
  return (
    level.sgxComponents.every((svn, i) => (pck.components[i] as number) >= svn) && pck.pceSvn >= level.pceSvn
  );
}

function coversTdx(level: TcbLevel, teeTcbSvn: Uint8Array): boolean {
  if (level.tdxComponents === undefined) return false;
  const from = (teeTcbSvn[1] as number) > 0 ? 2 : 0;
  return level.tdxComponents.every((svn, i) => i < from || (teeTcbSvn[i] as number) >= svn);
}

function bySvn(levels: readonly SvnLevel[], isvSvn: number): SvnLevel | undefined {
  return levels.find((level) => isvSvn >= level.isvSvn);
}

function maskedEqual(got: Uint8Array, expected: Uint8Array, mask: Uint8Array): boolean {
  if (got.length !== expected.length || got.length !== mask.length) return false;
  const masked = (bytes: Uint8Array): Uint8Array => bytes.map((byte, i) => byte & (mask[i] as number));
  return equalBytes(masked(got), masked(expected));
}

function notSupported(): Verdict<never> {
  return refuse("DCAP_TCB_NOT_SUPPORTED", "The platform is below every TCB level that Intel lists.");
}
