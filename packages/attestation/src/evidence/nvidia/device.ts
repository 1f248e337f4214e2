/** What NVIDIA's device certificates say about the device. */
import { fromUtf8, toHex } from "@cloister/core";
import { childrenOf, DerError, expectTag, readDer, readOid, TAG, type DerElement } from "../../der.ts";
import { OID, type Certificate } from "../../x509.ts";

/** CompositeDeviceID on Hopper and the switches, DiceTcbInfo on Blackwell. */
const COMPOSITE_DEVICE_ID = "2.23.133.5.4.1";
const DICE_TCB_INFO = "2.23.133.5.4.1.1";
const DMTF_DEVICE_INFO = "1.3.6.1.4.1.412.274.1";
const FWID_BYTES = 48;

export interface NvidiaDevice {
  /** The chip as the certificate names it: `GH100`, `GB100`, `LS_10`. */
  readonly chip: string;
  /** Architecture: `HOPPER`, `BLACKWELL`, `LS10`; the chip's own name where it is not known here. */
  readonly arch: string;
  readonly isSwitch: boolean;
  /** Digest of the firmware that the attestation key was derived for, lower-case hex. */
  readonly fwid: string | undefined;
  /** Whether the certificate says that the device was in debug mode when the key was derived. */
  readonly debug: boolean;
  /** Serial number of the device in its name, as DMTF's subjectAltName gives it; may be empty. */
  readonly serial: string;
}

/** Reads a device's leaf certificate. @throws {DerError} `DER_MALFORMED` */
export function readNvidiaDevice(leaf: Certificate): NvidiaDevice {
  const chip = /^([A-Z0-9_]{2,12}) /.exec(leaf.subjectCommonName ?? "")?.[1];
  if (chip === undefined) throw new DerError("the certificate's name does not tell the chip");
  const composite = leaf.extensions.get(COMPOSITE_DEVICE_ID);
  const tcbInfo = leaf.extensions.get(DICE_TCB_INFO);
  const firmware =
    tcbInfo !== undefined
      ? readTcbInfo(tcbInfo.value)
      : {
          debug: false,
          ...(composite === undefined ? { fwid: undefined } : readCompositeDevice(composite.value)),
        };
  return { chip, ...architectureOf(chip), ...firmware, serial: readSerial(leaf) };
}

function architectureOf(chip: string): { arch: string; isSwitch: boolean } {
  if (/^GH\d/.test(chip)) return { arch: "HOPPER", isSwitch: false };
  if (/^GB\d/.test(chip)) return { arch: "BLACKWELL", isSwitch: false };
  if (/^L[A-Z]_?\d/.test(chip)) return { arch: chip.replace("_", ""), isSwitch: true };
  return { arch: chip, isSwitch: false };
}

/** CompositeDeviceID: version, device key, FWID (TCG DICE, first edition). */
function readCompositeDevice(extension: Uint8Array): { fwid: string } {
  const [, , fwid] = childrenOf(readDer(extension, TAG.sequence));
  return { fwid: readFwid(fwid) };
}

/** DiceTcbInfo: fwids [6], of which the first is the device's firmware, and flags [7] with debug as bit 3. */
function readTcbInfo(extension: Uint8Array): { fwid: string | undefined; debug: boolean } {
  const members = childrenOf(readDer(extension, TAG.sequence));
  const [fwid] = members.filter(({ tag }) => tag === 0xa6).flatMap(childrenOf);
  const flags = members.find(({ tag }) => tag === 0x87)?.content[1] ?? 0;
  return { fwid: fwid === undefined ? undefined : readFwid(fwid), debug: (flags & 0x10) !== 0 };
}

/** FWID: the hash's OID and the digest. */
function readFwid(fwid: DerElement | undefined): string {
  const [algorithm, digest] = childrenOf(expectTag(fwid, TAG.sequence));
  readOid(algorithm);
  const { content } = expectTag(digest, TAG.octetString);
  if (content.length !== FWID_BYTES) throw new DerError("the firmware's digest is no SHA-384");
  return toHex(content);
}

/** `NVIDIA:GH100:48B02DF44660DA06` in an otherName of DMTF's; only shown, so nothing fails when it is absent. */
function readSerial(leaf: Certificate): string {
  const extension = leaf.extensions.get(OID.subjectAltName);
  if (extension === undefined) return "";
  try {
    for (const name of childrenOf(readDer(extension.value, TAG.sequence))) {
      const [oid, value] = name.tag === 0xa0 ? childrenOf(name) : [];
      if (oid === undefined || readOid(oid) !== DMTF_DEVICE_INFO) continue;
      const [text] = childrenOf(value as DerElement);
      return (
        fromUtf8((text as DerElement).content)
          .slice(0, 100)
          .split(":")
          .at(-1) ?? ""
      );
    }
  } catch {
    return "";
  }
  return "";
}
