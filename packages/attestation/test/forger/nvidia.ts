/**
 * A fake NVIDIA: devices, their certificates, and signed manifests, each of which can be wrong in one respect.
 * Nothing of it is trusted unless `forgedNvidiaRoots` is handed to `verify`.
 */
import { concat, fromHex, sha384, toBase64, toHex, utf8 } from "@cloister/core";
import { canonicalize } from "../../src/evidence/nvidia/c14n.ts";
import { childrenNamed, parseXml } from "../../src/evidence/nvidia/xml.ts";
import {
  derInteger,
  derOctets,
  derOid,
  derSequence,
  nameOf,
  pinOf,
  toPem,
  usageExtensions,
  type Endorsements,
  type Evidence,
  type TrustRoots,
} from "../../src/index.ts";
import { forgeCertificate, forgeCrl, type CertificateTwist, type CrlTwist } from "./certificates.ts";
import { forgedKey, type ForgedKey } from "./keys.ts";

const DSIG = "http://www.w3.org/2000/09/xmldsig#";
const C14N_1_1 = "http://www.w3.org/2006/12/xml-c14n11";

const key = (text: string): ForgedKey => forgedKey(text, "P-384");
const keys = {
  root: key("NVIDIA device root"),
  identity: key("NVIDIA identity"),
  leaf: key("NVIDIA device"),
  other: key("NVIDIA device of another machine"),
  rimRoot: key("NVIDIA manifest root"),
  rimSigner: key("NVIDIA manifest signer"),
  stranger: key("a stranger to NVIDIA"),
};
export const forgedNvidiaKeys: Readonly<Record<keyof typeof keys, ForgedKey>> = keys;

export const forgedNvidiaRoots: TrustRoots = {
  simulated: false,
  pins: { nvidia: [pinOf(keys.root.publicKey)], nvidiaRim: [pinOf(keys.rimRoot.publicKey)] },
};

export interface RimForgery {
  readonly version?: string;
  readonly product?: string;
  readonly golden?: ReadonlyMap<number, readonly Uint8Array[]>;
  readonly signedBy?: ForgedKey;
  readonly signer?: CertificateTwist;
  /** Applied to the finished text, after its signature. */
  readonly alter?: (xml: string) => string;
}

export interface NvidiaForgery {
  readonly chip?: string;
  readonly serial?: string;
  readonly nonce?: Uint8Array;
  readonly driver?: string;
  readonly blocks?: ReadonlyMap<number, Uint8Array>;
  readonly opaque?: ReadonlyMap<number, Uint8Array>;
  readonly device?: ForgedKey;
  readonly reportSignedBy?: ForgedKey;
  readonly alter?: (report: Uint8Array) => void;
  readonly certificateFwid?: Uint8Array;
  readonly leaf?: CertificateTwist;
  readonly identity?: CertificateTwist;
  readonly root?: CertificateTwist;
  readonly chain?: (chain: readonly Uint8Array[]) => readonly Uint8Array[];
  readonly driverRim?: RimForgery;
  readonly vbiosRim?: RimForgery;
  readonly withoutRims?: boolean;
  readonly crl?: CrlTwist;
}

const FWID = new Uint8Array(48).fill(0xf1);
const VBIOS = "96.00.5E.00.01";
const BLOCKS = 64;
const measured = (index: number): Uint8Array => sha384(new Uint8Array([index]));
const DRIVER_GOLDEN = new Map([7, 8].map((index) => [index, [measured(index + 1)]]));
const VBIOS_GOLDEN = new Map([1, 2].map((index) => [index, [new Uint8Array(48), measured(index + 1)]]));
const IDENTITY_SERIAL = new Uint8Array([2]);
export const forgedIdentitySerial: Uint8Array = IDENTITY_SERIAL;

const names = {
  root: nameOf("Forged Device Identity CA", "Forger"),
  identity: nameOf("Forged GH100 Identity", "Forger"),
  rimRoot: nameOf("Forged CoRIM signing Root CA", "Forger"),
  rimSigner: nameOf("Forged RIM Signer", "Forger"),
};

/** Forges a GPU's evidence with its manifests; `verify` accepts it under `forgedNvidiaRoots`, save for what is twisted. */
export function forgeNvidia(forgery: NvidiaForgery = {}): { evidence: Evidence; endorsements: Endorsements } {
  const driver = forgery.driver ?? "545.00";
  const chain = forgeChain(forgery);
  const crl = forgeCrl(names.root, keys.root, forgery.crl);
  const rims = {
    rimDriver: forgeRim({ version: driver, golden: DRIVER_GOLDEN, ...forgery.driverRim }),
    rimVbios: forgeRim({ version: VBIOS, golden: VBIOS_GOLDEN, ...forgery.vbiosRim }),
  };
  return {
    evidence: { tee: "nvidia", bytes: forgeReport(forgery, driver), parts: { chain: utf8(toPem(...chain)) } },
    endorsements: { tee: "nvidia", parts: { crl, ...(forgery.withoutRims === true ? {} : rims) } },
  };
}

function forgeReport(forgery: NvidiaForgery, driver: string): Uint8Array {
  const blocks =
    forgery.blocks ?? new Map(Array.from({ length: BLOCKS }, (_, i) => [i + 1, measured(i + 1)]));
  const record = concat(
    ...[...blocks].map(([index, value]) =>
      concat(
        new Uint8Array([index, 1]),
        u16(value.length + 3),
        new Uint8Array([1]),
        u16(value.length),
        value,
      ),
    ),
  );
  const opaqueFields = new Map<number, Uint8Array>([
    [6, fromHex("005e009601000000")],
    [3, utf8(`${driver}\0`)],
    [11, new Uint8Array([0x55])],
    [20, FWID],
    ...(forgery.opaque ?? []),
  ]);
  const opaque = concat(
    ...[...opaqueFields].map(([type, value]) => concat(u16(type), u16(value.length), value)),
  );
  const signed = concat(
    new Uint8Array([0x11, 0xe0, 1, 0xff]),
    forgery.nonce ?? new Uint8Array(32).fill(0x4e),
    new Uint8Array([0, 0x11, 0x60, 0, 0, blocks.size]),
    u16(record.length),
    new Uint8Array(1),
    record,
    new Uint8Array(32).fill(7),
    u16(opaque.length),
    opaque,
  );
  const report = concat(signed, (forgery.reportSignedBy ?? forgery.device ?? keys.leaf).sign(signed));
  forgery.alter?.(report);
  return report;
}

function forgeChain(forgery: NvidiaForgery): readonly Uint8Array[] {
  const { chip = "GH100", serial = "48B02DF44660DA06", device = keys.leaf } = forgery;
  const fwid = derSequence(derOid("2.16.840.1.101.3.4.2.2"), derOctets(forgery.certificateFwid ?? FWID));
  const dice = derSequence(derInteger(1), device.publicKey.spki, fwid);
  const text = utf8(`NVIDIA:${chip}:${serial}`);
  const other = concat(new Uint8Array([0xa0, text.length + 2, 0x0c, text.length]), text);
  const oid = derOid("1.3.6.1.4.1.412.274.1");
  const otherName = concat(new Uint8Array([0xa0, oid.length + other.length]), oid, other);
  const leafExtensions = [
    { oid: "2.23.133.5.4.1", critical: false, value: dice },
    { oid: "2.5.29.17", critical: false, value: derSequence(otherName) },
  ];
  const leaf = forgeCertificate(
    {
      serial: [3],
      subject: nameOf(`${chip} A01 GSP FMC LF`, "Forger"),
      key: device,
      issuer: names.identity,
      by: keys.identity,
      extensions: leafExtensions,
    },
    forgery.leaf,
  );
  const identity = forgeCertificate(
    {
      serial: [...IDENTITY_SERIAL],
      subject: names.identity,
      key: keys.identity,
      issuer: names.root,
      by: keys.root,
      extensions: usageExtensions({ authority: true, pathLengthMax: 0 }),
    },
    forgery.identity,
  );
  const root = forgeCertificate(
    {
      serial: [1],
      subject: names.root,
      key: keys.root,
      issuer: names.root,
      by: keys.root,
      extensions: usageExtensions({ authority: true, pathLengthMax: 1 }),
    },
    forgery.root,
  );
  return (forgery.chain ?? ((chain) => chain))([leaf, identity, root]);
}

/** Forges a signed manifest. */
export function forgeRim(forgery: RimForgery = {}): Uint8Array {
  const golden = forgery.golden ?? DRIVER_GOLDEN;
  const resources = [...golden].map(([index, values]) => {
    const hashes = values.map((value, i) => `h:Hash${i}="${toHex(value)}"`).join(" ");
    return `<s:Resource type="Measurement" index="${index}" active="True" alternatives="${values.length}" ${hashes} name="Measurement_${index}" size="48"/>`;
  });
  const inactive = `<s:Resource type="Measurement" index="63" active="False" alternatives="1" h:Hash0="${"00".repeat(48)}" name="Measurement_63" size="48"/>`;
  const body =
    `<s:Meta colloquialVersion="${forgery.version ?? "545.00"}" edition="GPU" product="${forgery.product ?? "GH100"}"/>` +
    `<s:Payload>\n  ${[...resources, inactive].join("\n  ")}\n</s:Payload>`;
  const open = `<SoftwareIdentity xmlns="http://standards.iso.org/iso/19770/-2/2015/schema.xsd" xmlns:s="http://standards.iso.org/iso/19770/-2/2015/schema.xsd" xmlns:h="http://www.w3.org/2001/04/xmlenc#sha384" name="${forgery.product ?? "GH100"}" tagId="forged">`;
  const bare = utf8(`${open}${body}</SoftwareIdentity>`);
  const digest = sha384(utf8(canonicalize({ apex: parseXml(bare) }, { kind: "inclusive", version: "1.1" })));
  const info =
    `<d:SignedInfo><d:CanonicalizationMethod Algorithm="${C14N_1_1}"/><d:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"/>` +
    `<d:Reference URI=""><d:Transforms><d:Transform Algorithm="${DSIG}enveloped-signature"/><d:Transform Algorithm="${C14N_1_1}"/></d:Transforms>` +
    `<d:DigestMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#sha384"/><d:DigestValue>${toBase64(digest)}</d:DigestValue></d:Reference></d:SignedInfo>`;
  const certificates = forgeRimChain(forgery)
    .map((certificate) => `<d:X509Certificate>${toBase64(certificate)}</d:X509Certificate>`)
    .join("");
  const whole = (signature: string): string =>
    `${open}${body}<d:Signature xmlns:d="${DSIG}">${info}<d:SignatureValue>${signature}</d:SignatureValue><d:KeyInfo><d:X509Data>${certificates}</d:X509Data></d:KeyInfo></d:Signature></SoftwareIdentity>`;
  const root = parseXml(utf8(whole("")));
  const [element] = childrenNamed(root, DSIG, "Signature");
  if (element === undefined) throw new Error("the forged manifest has no signature");
  const [apex] = childrenNamed(element, DSIG, "SignedInfo");
  if (apex === undefined) throw new Error("the forged manifest has no SignedInfo");
  const signed = canonicalize({ apex, ancestors: [root, element] }, { kind: "inclusive", version: "1.1" });
  const text = whole(toBase64((forgery.signedBy ?? keys.rimSigner).sign(utf8(signed))));
  return utf8(forgery.alter === undefined ? text : forgery.alter(text));
}

function forgeRimChain(forgery: RimForgery): readonly Uint8Array[] {
  return [
    forgeCertificate(
      {
        serial: [3],
        subject: names.rimSigner,
        key: keys.rimSigner,
        issuer: names.rimRoot,
        by: keys.rimRoot,
        extensions: usageExtensions({ authority: false }),
      },
      forgery.signer,
    ),
    forgeCertificate({
      serial: [1],
      subject: names.rimRoot,
      key: keys.rimRoot,
      issuer: names.rimRoot,
      by: keys.rimRoot,
      extensions: usageExtensions({ authority: true, pathLengthMax: 1 }),
    }),
  ];
}

function u16(value: number): Uint8Array {
  return new Uint8Array([value & 0xff, value >> 8]);
}
