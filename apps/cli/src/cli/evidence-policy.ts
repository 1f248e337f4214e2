/** A person's own policy on one piece of evidence, as options of a command. */
import type { AttestationResult, Claims, ReferenceValue, SnpTcb, TcbStatus } from "@cloister/attestation";
import { CloisterError, isDigest, type Refusal } from "@cloister/core";
import { InvalidArgumentError, type Command } from "commander";
import { collectValues } from "./command.ts";
import { usageError } from "./usage.ts";

export interface PolicyOptions {
  readonly measurement?: readonly string[];
  readonly allowStatus?: readonly TcbStatus[];
  readonly minTcb?: Partial<SnpTcb>;
  readonly withoutRevocation?: boolean;
}

const STATUSES: readonly TcbStatus[] = [
  ...(["UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"] as const),
  ...(["TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded"] as const),
  ...(["OutOfDate", "OutOfDateConfigurationNeeded"] as const),
];

const VERSIONS: Readonly<Record<string, keyof SnpTcb>> = {
  ...{ fmc: "fmc", bl: "bl", tee: "tee", snp: "snp", ucode: "ucode" },
  ...{ bootloader: "bl", microcode: "ucode" },
};

/** Adds the options of a policy; any of them has the evidence appraised. */
export function withPolicy(command: Command): Command {
  return command
    .option(
      "--measurement <value>",
      "what may be measured: sha256:… as verify prints it, or NAME=HEX such as mrTd=91eb…; may be given several times",
      collectMeasurement,
    )
    .option(
      "--allow-status <status>",
      "a TCB status to accept beside UpToDate; may be given several times",
      collectStatus,
    )
    .option(
      "--min-tcb <versions>",
      "SEV-SNP: the least firmware, reported and committed, such as bl=4,snp=24,ucode=219",
      parseVersions,
    )
    .option("--without-revocation", "accept evidence that came without revocation lists");
}

/** Whether a policy was given at all. */
export function hasPolicy(options: PolicyOptions): boolean {
  const { measurement, allowStatus, minTcb, withoutRevocation } = options;
  return [measurement, allowStatus, minTcb, withoutRevocation].some((option) => option !== undefined);
}

/**
 * Holds claims against the policy. @throws {CloisterError} with every failed check; `USAGE_MIN_TCB_OTHER_TEE`
 */
export async function appraiseWith(
  options: PolicyOptions,
  claims: Claims,
  simulated: boolean,
): Promise<AttestationResult> {
  const { appraise } = await import("@cloister/attestation");
  const { references, refusals } = referencesOf(options.measurement ?? [], claims);
  const result = appraise(claims, references, {
    tees: [claims.tee],
    tcbStatuses: ["UpToDate", ...(options.allowStatus ?? [])],
    simulated: simulated ? "require" : "refuse",
    withoutRevocation: options.withoutRevocation === true,
    ...(options.minTcb === undefined ? {} : { snpTcbMin: { [productOf(claims)]: options.minTcb } }),
  });
  const others = result.refusals.filter(
    ({ code }) => refusals.length === 0 || code !== "MEASUREMENT_NOT_APPROVED",
  );
  const [first, ...rest] = [...others, ...refusals];
  if (first !== undefined) throw CloisterError.fromRefusals([first, ...rest]);
  return result;
}

function productOf({ tee, tcb }: Claims): string {
  if (tcb.snp !== undefined) return tcb.snp.product;
  throw usageError(
    "USAGE_MIN_TCB_OTHER_TEE",
    `--min-tcb is about AMD's firmware; this is evidence of ${tee}.`,
    "Leave it out: other makers rate their TCB with a status.",
  );
}

/** One of the digests must be the whole measurement; every measurement that is named must have its value. */
function referencesOf(
  given: readonly string[],
  { measurement, measurements }: Claims,
): { references: ReferenceValue[]; refusals: Refusal[] } {
  const named = given.filter((value) => !isDigest(value));
  const refusals = named.flatMap((value) => {
    const at = value.indexOf("=");
    const [name, expected] = [value.slice(0, at), value.slice(at + 1).toLowerCase()];
    const actual = Object.hasOwn(measurements, name) ? measurements[name] : undefined;
    if (actual === expected) return [];
    const reason =
      actual === undefined
        ? `The evidence has no measurement "${name}"; it has ${Object.keys(measurements).join(", ")}.`
        : `The measurement ${name} is ${actual}, not ${expected}.`;
    return [{ code: "MEASUREMENT_NOT_APPROVED", reason }];
  });
  const digests = given.filter(isDigest).map((digest) => ({ measurement: digest }));
  const byName = named.length > 0 && refusals.length === 0 && digests.length === 0 ? [{ measurement }] : [];
  return { references: [...digests, ...byName], refusals };
}

function collectMeasurement(text: string, before: string[] | undefined): string[] {
  if (isDigest(text) || /^\w{1,40}=(?:[0-9a-fA-F]{2})+$/.test(text)) return collectValues(text, before);
  throw new InvalidArgumentError("It must be sha256: and 64 hexadecimal digits, or NAME=HEX.");
}

function collectStatus(text: string, before: readonly TcbStatus[] = []): TcbStatus[] {
  const status = STATUSES.find((known) => known.toLowerCase() === text.toLowerCase());
  if (status !== undefined) return [...before, status];
  throw new InvalidArgumentError(`It must be one of ${STATUSES.join(", ")}.`);
}

function parseVersions(text: string): Partial<SnpTcb> {
  const versions = text.split(",").map((pair) => /^([a-z]+)=(\d{1,3})$/.exec(pair.trim()));
  const entries = versions.map((match) => [VERSIONS[match?.[1] ?? ""], Number(match?.[2])] as const);
  if (entries.every(([name, version]) => name !== undefined && version <= 255)) {
    return Object.fromEntries(entries);
  }
  throw new InvalidArgumentError(
    "It must be versions such as bl=4,snp=24,ucode=219 (of fmc, bl, tee, snp, ucode).",
  );
}
