/** The extension of Intel's PCK certificates: what the platform is, and how far it is patched. */
import { toHex } from "@cloister/core";
import {
  childrenOf,
  DerError,
  expectTag,
  readDer,
  readOid,
  readSmallInteger,
  TAG,
  type DerElement,
} from "../../der.ts";
import type { Certificate } from "../../x509.ts";

export const SGX_EXTENSIONS = "1.2.840.113741.1.13.1";
const TCB_COMPONENTS = 16;

export interface PckFacts {
  /** Lower-case hex, 16 bytes; tells platforms apart. */
  readonly ppid: string;
  /** Lower-case hex, 6 bytes: the processor family that TCB info is about. */
  readonly fmspc: string;
  /** Lower-case hex, 2 bytes. */
  readonly pceId: string;
  /** Sixteen security version numbers. */
  readonly components: readonly number[];
  readonly pceSvn: number;
}

/** Reads the platform's facts. @throws {DerError} `DER_MALFORMED` when the certificate is not a PCK certificate. */
export function readPckFacts(certificate: Certificate): PckFacts {
  const extension = certificate.extensions.get(SGX_EXTENSIONS);
  if (extension === undefined) throw new DerError("the certificate has no SGX extension");
  const members = oidMap(readDer(extension.value, TAG.sequence));
  const tcb = oidMap(expectTag(members.get(`${SGX_EXTENSIONS}.2`), TAG.sequence));
  const svn = (n: number): number => readSmallInteger(tcb.get(`${SGX_EXTENSIONS}.2.${n}`));
  const octets = (n: number, length: number): string => {
    const { content } = expectTag(members.get(`${SGX_EXTENSIONS}.${n}`), TAG.octetString);
    if (content.length !== length) throw new DerError("a member of the SGX extension has a wrong size");
    return toHex(content);
  };
  return {
    ppid: octets(1, 16),
    pceId: octets(3, 2),
    fmspc: octets(4, 6),
    components: Array.from({ length: TCB_COMPONENTS }, (_, i) => svn(i + 1)),
    pceSvn: svn(TCB_COMPONENTS + 1),
  };
}

function oidMap(sequence: DerElement): Map<string, DerElement> {
  const members = new Map<string, DerElement>();
  for (const item of childrenOf(sequence)) {
    const [oid, value] = childrenOf(expectTag(item, TAG.sequence));
    if (value !== undefined) members.set(readOid(oid), value);
  }
  return members;
}
