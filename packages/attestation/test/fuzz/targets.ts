import { toHex } from "@cloister/core";
import {
  describeEvidence,
  parseCertificate,
  parseCrl,
  verify,
  type Claims,
  type Evidence,
  type TeeKind,
} from "../../src/index.ts";
import { endorsementsOf } from "../../tools/judges/dcap.ts";
import type { LoadFile, VectorEntry } from "../../tools/judges/entry.ts";
import { JUDGES } from "../../tools/judges/index.ts";
import { codedOr, decoder, type FuzzTarget } from "./target.ts";
import { forgedDeviceTargets } from "./targets-forged.ts";
import { FORGED_NOW_MS, forgedIntelRoots, forgeIntel } from "../forger/intel.ts";

/** Members of entries' `files` that hold the evidence itself. */
const MAIN_FILES = ["quote", "report", "token", "document", "log", "evidence", "rim"] as const;
/** Nothing signs these: a changed one is another one. */
const UNSIGNED_KINDS: ReadonlySet<string> = new Set(["tcg-ccel", "snp-launch-digest"]);

/** Targets that need no vectors: everything is forged. */
export function forgedTargets(): FuzzTarget[] {
  const forgeries = [
    forgeIntel(),
    forgeIntel({ version: 5, teeTcbSvn2: Array.from({ length: 16 }, () => 6) }),
    forgeIntel({ tee: "sgx" }),
  ];
  const options = { nowMs: FORGED_NOW_MS, roots: forgedIntelRoots };
  const [first] = forgeries;
  if (first === undefined) throw new Error("there is a forgery");
  const genuine = forgeries.map(({ evidence, endorsements }) => {
    const verdict = verify(evidence, endorsements, options);
    return verdict.ok ? told(verdict.value) : undefined;
  });
  const partNames = Object.keys(first.endorsements.parts);
  return [
    {
      name: "dcap-quote (forged)",
      seeds: forgeries.map(({ evidence }) => evidence.bytes),
      run: (bytes, seed) => {
        const { evidence, endorsements } = forgeries[seed] as (typeof forgeries)[number];
        holdsToPromise({ ...evidence, bytes });
        const verdict = verify({ ...evidence, bytes }, endorsements, options);
        // Padding, and line breaks between certificates, are nobody's statement: the claims must be the same.
        if (verdict.ok && told(verdict.value) !== genuine[seed])
          throw new Error("a changed quote was accepted");
      },
    },
    {
      name: "dcap-collateral (forged)",
      seeds: partNames.map((name) => first.endorsements.parts[name] as Uint8Array),
      run: (bytes, seed) => {
        const parts = { ...first.endorsements.parts, [partNames[seed] as string]: bytes };
        verify(first.evidence, { tee: "tdx", parts }, options);
      },
    },
    decoder("certificate", parseCertificate, [
      pemBody(first.endorsements.parts["tcbInfoIssuerChain"] as Uint8Array),
    ]),
    decoder("crl", parseCrl, [first.endorsements.parts["pckCrl"] as Uint8Array]),
    ...forgedDeviceTargets(),
  ];
}

/** One target per kind of vector entry; each entry's main file is a seed. */
export function vectorTargets(entries: readonly VectorEntry[], load: LoadFile): FuzzTarget[] {
  return Object.entries(JUDGES).flatMap(([kind, judge]) => {
    const usable = entries.flatMap((entry) => {
      const name = MAIN_FILES.find((file) => typeof entry.files[file] === "string");
      return entry.kind === kind && name !== undefined ? [{ entry, path: entry.files[name] as string }] : [];
    });
    if (usable.length === 0) return [];
    const seeds = usable.map(({ path }) => load(path));
    const expected = usable.map(({ entry }) => JSON.stringify(without(judge(entry, load).fields)));
    const run = (bytes: Uint8Array, seed: number): void => {
      const { entry, path } = usable[seed] as (typeof usable)[number];
      holdsToPromise({ tee: entry.tee as TeeKind, bytes });
      const swapped: LoadFile = (asked) => (asked === path ? bytes : load(asked));
      const answer = codedOr(() => judge(entry, swapped, bytes));
      if (answer === undefined) return;
      const accepted = answer.verdict !== "reject" && !UNSIGNED_KINDS.has(kind);
      if (accepted && JSON.stringify(without(answer.fields)) !== expected[seed]) {
        throw new Error(`changed evidence was accepted (${entry.id})`);
      }
    };
    return [{ name: kind, seeds, run }];
  });
}

/** Intel's collateral in its parts, as published. */
export function collateralTarget(entries: readonly VectorEntry[], load: LoadFile): FuzzTarget[] {
  const usable = entries
    .filter(({ kind, files }) => kind === "dcap-quote" && files["collateral"] !== undefined)
    .slice(0, 4);
  const cases = usable.flatMap((entry) => {
    const tee = entry.tee === "sgx" ? "sgx" : "tdx";
    const endorsements = endorsementsOf(entry, tee, load);
    const evidence: Evidence = { tee, bytes: load(entry.files["quote"] as string) };
    return Object.keys(endorsements.parts).map((name) => ({ evidence, endorsements, name }));
  });
  if (cases.length === 0) return [];
  return [
    {
      name: "dcap-collateral",
      seeds: cases.map(({ endorsements, name }) => endorsements.parts[name] as Uint8Array),
      run: (bytes, seed) => {
        const { evidence, endorsements, name } = cases[seed] as (typeof cases)[number];
        verify(
          evidence,
          { ...endorsements, parts: { ...endorsements.parts, [name]: bytes } },
          { nowMs: FORGED_NOW_MS },
        );
      },
    },
  ];
}

/** Describing throws coded errors only; verifying without endorsements throws nothing at all. */
function holdsToPromise(evidence: Evidence): void {
  codedOr(() => describeEvidence(evidence));
  verify(evidence, { tee: evidence.tee, parts: {} }, { nowMs: FORGED_NOW_MS });
}

function without(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).filter(([name]) => name !== "trailingBytes" && name !== "trailing"),
  );
}

/** All that claims tell, save how much padding there was. */
function told(claims: Claims): string {
  return JSON.stringify({ ...claims, reportData: toHex(claims.reportData), fields: without(claims.fields) });
}

function pemBody(pem: Uint8Array): Uint8Array {
  const [, body = ""] = /-----BEGIN CERTIFICATE-----([^-]*)/.exec(new TextDecoder().decode(pem)) ?? [];
  return Uint8Array.from(atob(body.replaceAll(/\s/g, "")), (char) => char.charCodeAt(0));
}
