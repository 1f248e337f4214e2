/**
 * Enveloped XML signatures (W3C xmldsig-core1) of the one shape that signed SWID tags have: the signature is a
 * child of the root, its only reference is the whole document without it. Every other shape is refused, so
 * that what is read is what was signed.
 */
import { verifySignature, type HashName, type SignatureScheme } from "#signatures";
import { CloisterError, equalBytes, fromBase64, sha256, sha384, sha512, utf8 } from "@cloister/core";
import type { PublicKey } from "../../public-key.ts";
import { canonicalize, type C14nMethod } from "./c14n.ts";
import { attributeOf, childrenNamed, textOf, type XmlElement } from "./xml.ts";

export const DSIG = "http://www.w3.org/2000/09/xmldsig#";
const EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#";
const PREFIXES_MAX = 64;
const ENVELOPED = `${DSIG}enveloped-signature`;

const C14N_METHODS: Readonly<Record<string, C14nMethod>> = {
  "http://www.w3.org/TR/2001/REC-xml-c14n-20010315": { kind: "inclusive", version: "1.0" },
  "http://www.w3.org/2006/12/xml-c14n11": { kind: "inclusive", version: "1.1" },
  [EXCLUSIVE]: { kind: "exclusive", inclusivePrefixes: [] },
};
const DIGESTS: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>> = {
  "http://www.w3.org/2001/04/xmlenc#sha256": sha256,
  "http://www.w3.org/2001/04/xmldsig-more#sha384": sha384,
  "http://www.w3.org/2001/04/xmlenc#sha512": sha512,
};
const SIGNATURE_METHOD = /^http:\/\/www\.w3\.org\/2001\/04\/xmldsig-more#(ecdsa|rsa)-(sha256|sha384|sha512)$/;

/** A signature that was read, and judged by nobody yet. */
export interface XmlSignature {
  readonly root: XmlElement;
  readonly element: XmlElement;
  /** DER of the certificates in KeyInfo, in their order. */
  readonly certificates: readonly Uint8Array[];
}

/**
 * Finds the one signature of a document.
 * @throws {CloisterError} `XML_SIGNATURE_MALFORMED`
 */
export function findXmlSignature(root: XmlElement): XmlSignature {
  const element = one(root, "Signature");
  const keyInfo = one(element, "KeyInfo");
  const certificates = childrenNamed(keyInfo, DSIG, "X509Data")
    .flatMap((data) => childrenNamed(data, DSIG, "X509Certificate"))
    .map((certificate) => base64(textOf(certificate)));
  return { root, element, certificates };
}

/**
 * Tells whether the key signed the whole document as it is.
 * @throws {CloisterError} `XML_SIGNATURE_MALFORMED`, `XML_SIGNATURE_UNSUPPORTED`
 */
export function verifyXmlSignature({ root, element }: XmlSignature, key: PublicKey): boolean {
  const info = one(element, "SignedInfo");
  const reference = one(info, "Reference");
  if (attributeOf(reference, "URI") !== "") throw unsupported("it does not cover the whole document");
  const digestMethod = algorithmOf(one(reference, "DigestMethod"));
  const digest = Object.hasOwn(DIGESTS, digestMethod) ? DIGESTS[digestMethod] : undefined;
  if (digest === undefined) throw unsupported(`its digest is ${digestMethod.slice(0, 80)}`);
  const document = canonicalize({ apex: root, left: element }, transformsOf(reference));
  const expected = base64(textOf(one(reference, "DigestValue")));
  const method = c14nOf(one(info, "CanonicalizationMethod"));
  const signed = utf8(canonicalize({ apex: info, ancestors: [root, element] }, method));
  const signature = base64(textOf(one(element, "SignatureValue")));
  return (
    equalBytes(digest(utf8(document)), expected) &&
    verifySignature(key, schemeOf(one(info, "SignatureMethod")), signed, signature)
  );
}

/** The transforms must be: take the signature out, then at most one canonicalization (1.0 where none is named). */
function transformsOf(reference: XmlElement): C14nMethod {
  const transforms = childrenNamed(one(reference, "Transforms"), DSIG, "Transform");
  const [enveloped, c14n, ...more] = transforms;
  if (enveloped === undefined || algorithmOf(enveloped) !== ENVELOPED || more.length > 0) {
    throw unsupported("its transforms are not the enveloped signature and one canonicalization");
  }
  return c14n === undefined ? { kind: "inclusive", version: "1.0" } : c14nOf(c14n);
}

function c14nOf(element: XmlElement): C14nMethod {
  const algorithm = algorithmOf(element);
  const method = Object.hasOwn(C14N_METHODS, algorithm) ? C14N_METHODS[algorithm] : undefined;
  if (method === undefined) throw unsupported(`its canonicalization is ${algorithm.slice(0, 80)}`);
  const [list] = childrenNamed(element, EXCLUSIVE, "InclusiveNamespaces");
  if (method.kind !== "exclusive" || list === undefined) return method;
  const prefixes = (attributeOf(list, "PrefixList") ?? "").split(/\s+/).filter((prefix) => prefix !== "");
  if (prefixes.length > PREFIXES_MAX) throw unsupported("it lists too many prefixes");
  return {
    kind: "exclusive",
    inclusivePrefixes: prefixes.map((prefix) => (prefix === "#default" ? "" : prefix)),
  };
}

function schemeOf(element: XmlElement): SignatureScheme {
  const match = SIGNATURE_METHOD.exec(algorithmOf(element));
  if (match === null) throw unsupported(`its algorithm is ${algorithmOf(element).slice(0, 80)}`);
  const hash = match[2] as HashName;
  return match[1] === "ecdsa" ? { kind: "ecdsa", hash } : { kind: "rsa-pkcs1", hash };
}

function algorithmOf(element: XmlElement): string {
  return attributeOf(element, "Algorithm") ?? "";
}

/** A second element of the same name could be read by one and signed by the other: there must be just one. */
function one(parent: XmlElement, local: string): XmlElement {
  const [first, ...more] = childrenNamed(parent, DSIG, local);
  if (first === undefined || more.length > 0) throw malformed(`"${parent.local}" must hold one "${local}"`);
  return first;
}

function base64(text: string): Uint8Array {
  try {
    return fromBase64(text.replaceAll(/\s/g, ""));
  } catch {
    throw malformed("a value is not base64");
  }
}

function malformed(why: string): CloisterError {
  return new CloisterError("XML_SIGNATURE_MALFORMED", `The document's signature cannot be read: ${why}.`);
}

function unsupported(why: string): CloisterError {
  return new CloisterError(
    "XML_SIGNATURE_UNSUPPORTED",
    `The document's signature is of another shape: ${why}.`,
  );
}
