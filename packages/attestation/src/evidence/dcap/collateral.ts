/** Intel's collateral: TCB info v2 and v3, enclave identities v2, as the PCS publishes them. */
import { CloisterError, fromUtf8 } from "@cloister/core";
import type { TcbStatus } from "../../types.ts";

const JSON_BYTES_MAX = 1 << 20;

export interface TcbLevel {
  readonly sgxComponents: readonly number[];
  readonly tdxComponents: readonly number[] | undefined;
  readonly pceSvn: number;
  readonly status: TcbStatus;
  readonly advisoryIds: readonly string[];
}

export interface SvnLevel {
  readonly isvSvn: number;
  readonly status: TcbStatus;
  readonly advisoryIds: readonly string[];
}

export interface TdxModuleIdentity {
  readonly id: string;
  readonly mrSigner: string;
  readonly attributes: string;
  readonly attributesMask: string;
  readonly levels: readonly SvnLevel[];
}

export interface TcbInfo {
  readonly id: "SGX" | "TDX";
  readonly version: 2 | 3;
  readonly fmspc: string;
  readonly pceId: string;
  readonly issueDateMs: number;
  readonly nextUpdateMs: number;
  readonly evaluationNumber: number;
  readonly tdxModule:
    | { readonly mrSigner: string; readonly attributes: string; readonly attributesMask: string }
    | undefined;
  readonly tdxModuleIdentities: readonly TdxModuleIdentity[];
  readonly levels: readonly TcbLevel[];
}

export interface EnclaveIdentity {
  readonly id: string;
  readonly issueDateMs: number;
  readonly nextUpdateMs: number;
  readonly miscSelect: string;
  readonly miscSelectMask: string;
  readonly attributes: string;
  readonly attributesMask: string;
  readonly mrSigner: string;
  readonly isvProdId: number;
  readonly levels: readonly SvnLevel[];
}

/** Reads TCB info. @throws {CloisterError} `DCAP_COLLATERAL_MALFORMED` */
export function parseTcbInfo(bytes: Uint8Array): TcbInfo {
  const info = new Fields(parseJson(bytes), "TCB info");
  const version = info.number("version");
  if (version !== 2 && version !== 3) throw malformed("TCB info", `version ${version} is not known`);
  const id = version === 2 ? "SGX" : info.text("id");
  if (id !== "SGX" && id !== "TDX") throw malformed("TCB info", `id "${id}" is not known`);
  const module = info.has("tdxModule") ? info.fields("tdxModule") : undefined;
  return {
    id,
    version,
    fmspc: info.text("fmspc").toLowerCase(),
    pceId: info.text("pceId").toLowerCase(),
    issueDateMs: info.time("issueDate"),
    nextUpdateMs: info.time("nextUpdate"),
    evaluationNumber: info.has("tcbEvaluationDataNumber") ? info.number("tcbEvaluationDataNumber") : 0,
    tdxModule:
      module === undefined
        ? undefined
        : {
            mrSigner: module.hex("mrsigner"),
            attributes: module.hex("attributes"),
            attributesMask: module.hex("attributesMask"),
          },
    tdxModuleIdentities: info.has("tdxModuleIdentities")
      ? info.list("tdxModuleIdentities").map(readModule)
      : [],
    levels: info.list("tcbLevels").map((level) => readTcbLevel(level, version)),
  };
}

/** Reads the identity of a quoting enclave. @throws {CloisterError} `DCAP_COLLATERAL_MALFORMED` */
export function parseEnclaveIdentity(bytes: Uint8Array): EnclaveIdentity {
  const identity = new Fields(parseJson(bytes), "QE identity");
  if (identity.number("version") !== 2) throw malformed("QE identity", "its version is not 2");
  return {
    id: identity.text("id"),
    issueDateMs: identity.time("issueDate"),
    nextUpdateMs: identity.time("nextUpdate"),
    miscSelect: identity.hex("miscselect"),
    miscSelectMask: identity.hex("miscselectMask"),
    attributes: identity.hex("attributes"),
    attributesMask: identity.hex("attributesMask"),
    mrSigner: identity.hex("mrsigner"),
    isvProdId: identity.number("isvprodid"),
    levels: identity.list("tcbLevels").map(readSvnLevel),
  };
}

function readTcbLevel(level: Fields, version: 2 | 3): TcbLevel {
  const tcb = level.fields("tcb");
  const components = (name: string): number[] => tcb.list(name).map((component) => component.number("svn"));
  return {
    sgxComponents:
      version === 3
        ? sixteen(components("sgxtcbcomponents"))
        : Array.from({ length: 16 }, (_, i) => tcb.number(`sgxtcbcomp${String(i + 1).padStart(2, "0")}svn`)),
    tdxComponents: tcb.has("tdxtcbcomponents") ? sixteen(components("tdxtcbcomponents")) : undefined,
    pceSvn: tcb.number("pcesvn"),
    ...readStatus(level),
  };
}

function readModule(module: Fields): TdxModuleIdentity {
  return {
    id: module.text("id"),
    mrSigner: module.hex("mrsigner"),
    attributes: module.hex("attributes"),
    attributesMask: module.hex("attributesMask"),
    levels: module.list("tcbLevels").map(readSvnLevel),
  };
}

/** Intel rates enclaves and TDX modules with three statuses only; nothing is known of what another would mean. */
function readSvnLevel(level: Fields): SvnLevel {
  const rated = { isvSvn: level.fields("tcb").number("isvsvn"), ...readStatus(level) };
  if (!SVN_STATUSES.has(rated.status))
    throw malformed("a level of an enclave or a module", `it cannot be "${rated.status}"`);
  return rated;
}

const SVN_STATUSES: ReadonlySet<string> = new Set<TcbStatus>(["UpToDate", "OutOfDate", "Revoked"]);

const STATUSES: ReadonlySet<string> = new Set<TcbStatus>([
  ...(["UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"] as const),
  ...(["OutOfDate", "OutOfDateConfigurationNeeded", "Revoked"] as const),
]);

function readStatus(level: Fields): { status: TcbStatus; advisoryIds: string[] } {
  const status = level.text("tcbStatus");
  if (!STATUSES.has(status)) throw malformed("a TCB level", `status "${status}" is not known`);
  return {
    status: status as TcbStatus,
    advisoryIds: level.has("advisoryIDs") ? level.texts("advisoryIDs") : [],
  };
}

function sixteen(components: number[]): number[] {
  if (components.length !== 16) throw malformed("a TCB level", "it does not have sixteen components");
  return components;
}

function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length > JSON_BYTES_MAX) throw malformed("the collateral", "it is larger than any collateral");
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    throw new CloisterError("DCAP_COLLATERAL_MALFORMED", "The collateral is not JSON.", { cause });
  }
}

/** Typed access to the members of a JSON object. */
class Fields {
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #what: string;

  constructor(value: unknown, what: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw malformed(what, "it is no object");
    this.#value = value as Readonly<Record<string, unknown>>;
    this.#what = what;
  }

  has(name: string): boolean {
    return this.#value[name] !== undefined;
  }

  text(name: string): string {
    const value = this.#value[name];
    if (typeof value !== "string") throw this.#wrong(name);
    return value;
  }

  hex(name: string): string {
    const value = this.text(name).toLowerCase();
    if (!/^(?:[0-9a-f]{2})*$/.test(value)) throw this.#wrong(name);
    return value;
  }

  number(name: string): number {
    const value = this.#value[name];
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw this.#wrong(name);
    return value as number;
  }

  time(name: string): number {
    const value = Date.parse(this.text(name));
    if (Number.isNaN(value)) throw this.#wrong(name);
    return value;
  }

  fields(name: string): Fields {
    return new Fields(this.#value[name], `${name} of ${this.#what}`);
  }

  list(name: string): Fields[] {
    const value = this.#value[name];
    if (!Array.isArray(value) || value.length > 1_000) throw this.#wrong(name);
    return value.map((item) => new Fields(item, `${name} of ${this.#what}`));
  }

  texts(name: string): string[] {
    const value = this.#value[name];
    if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) throw this.#wrong(name);
    return value;
  }

  #wrong(name: string): CloisterError {
    return malformed(this.#what, `its member "${name}" is missing or of a wrong form`);
  }
}

function malformed(what: string, why: string): CloisterError {
  return new CloisterError("DCAP_COLLATERAL_MALFORMED", `Intel's collateral is malformed: ${what}: ${why}.`);
}
