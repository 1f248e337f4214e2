/** NVIDIA's reference integrity manifests: signed SWID tags (ISO 19770-2, TCG RIM information model). */
import { CloisterError, sha256, toHex, type Verdict } from "@cloister/core";
import { Memo } from "../../memo.ts";
import type { TrustRoots } from "../../types.ts";
import { KEY_USAGE, mayUseKeyFor, pinOf, type Certificate } from "../../x509.ts";
import { distinguishedNameText } from "../distinguished-name.ts";
import { Findings } from "../findings.ts";
import { judgePath, readCertificates } from "../path.ts";
import { findXmlSignature, verifyXmlSignature, type XmlSignature } from "./xml-signature.ts";
import { attributeOf, childrenNamed, parseXml, type XmlElement } from "./xml.ts";

const SWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const HASH_NAMESPACE = "http://www.w3.org/2001/04/xmlenc#sha384";
const DIGEST_HEX = /^[0-9a-f]{96}$/;
const MEASUREMENTS_MAX = 255;
const ALTERNATIVES_MAX = 64;

/** What a manifest says. Its signature was judged by nobody yet. */
export interface NvidiaRim {
  /** Version of the driver or of the VBIOS that it is about. */
  readonly version: string;
  /** `GPU` or `SWITCH`. */
  readonly edition: string;
  /** The chip, e.g. `GH100`. */
  readonly product: string;
  readonly tagId: string;
  /** By index: the values (SHA-384, lower-case hex) of which one must be measured. Active ones only. */
  readonly golden: ReadonlyMap<number, readonly string[]>;
  readonly signature: XmlSignature;
}

/**
 * Reads a manifest.
 * @throws {CloisterError} `XML_MALFORMED`, `NVIDIA_RIM_MALFORMED`, `XML_SIGNATURE_MALFORMED`
 */
export function parseNvidiaRim(bytes: Uint8Array): NvidiaRim {
  const root = parseXml(bytes);
  if (root.namespace !== SWID || root.local !== "SoftwareIdentity") throw malformed("it is no SWID tag");
  const [meta] = childrenNamed(root, SWID, "Meta");
  const payloads = childrenNamed(root, SWID, "Payload");
  if (meta === undefined || payloads.length !== 1) throw malformed("it must hold Meta and one Payload");
  return {
    version: required(meta, "colloquialVersion"),
    edition: attributeOf(meta, "edition") ?? "",
    product: attributeOf(meta, "product") ?? "",
    tagId: attributeOf(root, "tagId") ?? "",
    golden: readGolden(payloads[0] as XmlElement),
    signature: findXmlSignature(root),
  };
}

function readGolden(payload: XmlElement): Map<number, string[]> {
  const golden = new Map<number, string[]>();
  for (const resource of childrenNamed(payload, SWID, "Resource")) {
    if (attributeOf(resource, "type") !== "Measurement") continue;
    const active = required(resource, "active");
    if (active !== "True" && active !== "False")
      throw malformed(`"${active.slice(0, 20)}" is neither True nor False`);
    if (active === "False") continue;
    const index = count(resource, "index", MEASUREMENTS_MAX);
    const alternatives = count(resource, "alternatives", ALTERNATIVES_MAX);
    const values = Array.from({ length: alternatives }, (_, i) => {
      const value = (attributeOf(resource, `Hash${i}`, HASH_NAMESPACE) ?? "").toLowerCase();
      if (!DIGEST_HEX.test(value)) throw malformed(`measurement ${index} lacks a value`);
      return value;
    });
    if (golden.has(index)) throw malformed(`measurement ${index} stands twice`);
    golden.set(index, values);
  }
  return golden;
}

/** A manifest whose signature and chain hold. */
export interface VerifiedRim extends NvidiaRim {
  /** Pin of the root key. */
  readonly rootFingerprint: string;
  readonly signer: string;
  readonly revocationChecked: boolean;
}

/** What a manifest is judged by. */
export interface RimOptions {
  readonly nowMs: number;
  readonly roots: TrustRoots;
  /** Bags of certificates and revocation lists beside those in the manifest. */
  readonly authorities?: Uint8Array | undefined;
  readonly crls?: readonly Uint8Array[];
}

interface Remembered {
  readonly rim: NvidiaRim;
  readonly signatureValid: boolean;
}

const remembered = new Memo<Remembered>(64);

/** Verifies a manifest: form, signature over the whole of it, chain to NVIDIA's root for manifests. */
export function verifyNvidiaRim(bytes: Uint8Array, options: RimOptions): Verdict<VerifiedRim> {
  const findings = new Findings();
  const read = findings.attempt("NVIDIA_RIM_MALFORMED", () => readSigned(bytes));
  if (read === undefined) return findings.refused();
  const { rim, signatureValid } = read;
  findings.check(
    signatureValid,
    "NVIDIA_RIM_SIGNATURE_INVALID",
    `The manifest ${rim.version} was altered, or was not signed by the certificate in it.`,
  );
  const [leaf, ...rest] = rim.signature.certificates;
  const judgement =
    leaf === undefined
      ? undefined
      : findings.attempt("NVIDIA_RIM_CHAIN_MALFORMED", () =>
          judgePath({
            leaf,
            others: [...rest, ...(options.authorities === undefined ? [] : [options.authorities])],
            crls: options.crls ?? [],
            roots: options.roots.pins.nvidiaRim ?? [],
            nowMs: options.nowMs,
            prefix: "NVIDIA_RIM",
            what: `the chain of the manifest ${rim.version}`,
          }),
        );
  if (judgement === undefined) return findings.refused();
  findings.refusals.push(...judgement.refusals);
  const signer = judgement.path[0] as Certificate;
  findings.check(
    mayUseKeyFor(signer, KEY_USAGE.digitalSignature),
    "NVIDIA_RIM_SIGNER_WRONG",
    "The manifest's certificate is not for signing documents.",
  );
  return findings.verdict(() => ({
    ...rim,
    rootFingerprint: pinOf((judgement.path.at(-1) as Certificate).publicKey),
    signer: distinguishedNameText(signer.subject),
    revocationChecked: judgement.revocationChecked,
  }));
}

/** Reading and canonicalizing cost far more than the signature, and depend on nothing but the bytes. */
function readSigned(bytes: Uint8Array): Remembered {
  const key = toHex(sha256(bytes));
  const known = remembered.get(key);
  if (known !== undefined) return known;
  const rim = parseNvidiaRim(bytes);
  const [leaf] = rim.signature.certificates;
  if (leaf === undefined) throw malformed("it has no certificate");
  const [signer] = readCertificates(leaf);
  const result = {
    rim,
    signatureValid: verifyXmlSignature(rim.signature, (signer as Certificate).publicKey),
  };
  remembered.set(key, result);
  return result;
}

/** Says what a manifest holds, without judging it. @throws as `parseNvidiaRim` */
export function describeNvidiaRim(bytes: Uint8Array): Record<string, unknown> {
  const { version, edition, product, tagId, golden, signature } = parseNvidiaRim(bytes);
  const [leaf] = signature.certificates;
  const [signer] = leaf === undefined ? [] : readCertificates(leaf);
  return {
    version,
    edition,
    product,
    tagId,
    activeMeasurements: golden.size,
    signer: signer === undefined ? undefined : distinguishedNameText(signer.subject),
  };
}

function count(element: XmlElement, name: string, max: number): number {
  const text = required(element, name);
  const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= max)) throw malformed(`"${text.slice(0, 20)}" is no ${name}`);
  return value;
}

function required(element: XmlElement, name: string): string {
  const value = attributeOf(element, name);
  if (value === undefined) throw malformed(`an element "${element.local}" lacks "${name}"`);
  return value;
}

function malformed(why: string): CloisterError {
  return new CloisterError("NVIDIA_RIM_MALFORMED", `The manifest cannot be read: ${why}.`);
}
