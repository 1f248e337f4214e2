import { fromUtf8 } from "@cloister/core";
import { childrenOf, expectTag, readDer, readOid, TAG } from "../der.ts";

const SHORT_NAMES: Readonly<Record<string, string>> = {
  "2.5.4.3": "CN",
  "2.5.4.5": "serialNumber",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
};

/** Writes a distinguished name as `C=US,O=…,CN=…`, in its own order. @throws {DerError} `DER_MALFORMED` */
export function distinguishedNameText(name: Uint8Array): string {
  return childrenOf(readDer(name, TAG.sequence))
    .flatMap((set) => childrenOf(expectTag(set, TAG.set)))
    .map((attribute) => {
      const [oid, value] = childrenOf(expectTag(attribute, TAG.sequence));
      const type = readOid(oid);
      return `${SHORT_NAMES[type] ?? type}=${fromUtf8(value?.content ?? new Uint8Array(0)).slice(0, 200)}`;
    })
    .join(",");
}
