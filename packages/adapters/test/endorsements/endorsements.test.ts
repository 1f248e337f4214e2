import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createSimulatedSnpPlatform,
  readSnpCertificateTable,
  simulatedSnpEvidence,
  simulationRoots,
  simulationSnpEndorsements,
  toPem,
  verify,
  type Evidence,
} from "@cloister/attestation";
import { encodeCanonical, fromUtf8, sha256, toBase64, toHex } from "@cloister/core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  EndorsementCache,
  fetchAmdEndorsements,
  fetchIntelEndorsements,
  fetchNvidiaRim,
  fetchOcsp,
  nvidiaRimIds,
  pccs,
  type EndorsementCacheOptions,
} from "../../src/endorsements/index.ts";
import { openDirectoryRecords } from "../../src/records/index.ts";
import { FORGED_NOW_MS, forgedIntelRoots, forgeIntel } from "../../../attestation/test/forger/intel.ts";
import {
  startVendorServer,
  type Misbehavior,
  type RecordedAnswer,
  type VendorServer,
} from "./vendor-server.ts";

const DAY_MS = 86_400_000;
const { evidence, endorsements } = forgeIntel();
const snpPlatform = createSimulatedSnpPlatform(new Uint8Array(32).fill(3));
const snpReport = simulatedSnpEvidence(snpPlatform, {
  measurement: new Uint8Array(48).fill(1),
  reportData: new Uint8Array(64),
});
const snpAlone: Evidence = { tee: "sev-snp", bytes: snpReport.bytes.slice(0, 1184) };

let server: VendorServer;
let folder: string;
let nowMs: number;
let slept: number[];
let answers: Record<string, RecordedAnswer>;

beforeAll(async () => {
  server = await startVendorServer(() => answers);
});
afterAll(() => server.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cloister-endorsements-"));
  nowMs = FORGED_NOW_MS;
  slept = [];
  answers = { ...intelAnswers(), ...amdAnswers() };
  server.misbehaviors.length = 0;
  server.asked.length = 0;
});
afterEach(() => rmSync(folder, { recursive: true }));

async function cache(more: Partial<EndorsementCacheOptions> = {}, at = folder): Promise<EndorsementCache> {
  const http = { timeoutMs: 400, sleep: async (delayMs: number) => void slept.push(delayMs) };
  return new EndorsementCache({
    records: await openDirectoryRecords(at, nowMs),
    clock: { nowMs: () => nowMs },
    http,
    ...more,
  });
}

function intelAnswers(): Record<string, RecordedAnswer> {
  const part = (name: string): Uint8Array => endorsements.parts[name] as Uint8Array;
  const signed = (member: string, name: string, header: string): RecordedAnswer => ({
    body: `{"${member}":${fromUtf8(part(name))},"signature":"${toHex(part(`${name}Signature`))}"}`,
    headers: { [header]: encodeURIComponent(fromUtf8(part(`${name}IssuerChain`))) },
  });
  return {
    "/tdx/certification/v4/tcb?fmspc=00f06f000000": signed("tcbInfo", "tcbInfo", "TCB-Info-Issuer-Chain"),
    "/tdx/certification/v4/qe/identity": signed(
      "enclaveIdentity",
      "qeIdentity",
      "SGX-Enclave-Identity-Issuer-Chain",
    ),
    "/sgx/certification/v4/pckcrl?ca=platform&encoding=der": { body: part("pckCrl") },
    "/sgx/certification/v4/rootcacrl": { body: toHex(part("rootCaCrl")) },
  };
}

function amdAnswers(): Record<string, RecordedAnswer> {
  const { crl } = simulationSnpEndorsements(FORGED_NOW_MS).parts;
  const table = readSnpCertificateTable(snpPlatform.certificateTable);
  const bundle = toPem(table.ask as Uint8Array, table.ark as Uint8Array);
  const id = toHex(snpPlatform.chipId);
  return {
    "/vcek/v1/Genoa/cert_chain": { body: bundle },
    "/vcek/v1/Genoa/crl": { body: crl as Uint8Array },
    [chipPath(id)]: { body: table.vcek as Uint8Array },
  };
}

function chipPath(id: string): string {
  const tcb = verify(snpReport, simulationSnpEndorsements(FORGED_NOW_MS), {
    nowMs: FORGED_NOW_MS,
    roots: simulationRoots,
  });
  if (!tcb.ok) throw new Error(JSON.stringify(tcb.refusals));
  const { bl, tee, snp, ucode } = tcb.value.fields["reportedTcb"] as Record<string, number>;
  const two = (svn: number | undefined): string => String(svn).padStart(2, "0");
  return `/vcek/v1/Genoa/${id}?blSPL=${two(bl)}&teeSPL=${two(tee)}&snpSPL=${two(snp)}&ucodeSPL=${two(ucode)}`;
}

const fetchIntel = async (from: EndorsementCache) => fetchIntelEndorsements(evidence, from, pccs(server.url));

describe("Intel's collateral", () => {
  test("fetched from a PCCS verifies the quote", async () => {
    const fetched = await fetchIntel(await cache());
    expect(fetched).toEqual(endorsements);
    expect(verify(evidence, fetched, { nowMs, roots: forgedIntelRoots })).toMatchObject({ ok: true });
  });

  test("is asked for once a day, and again when it ran out", async () => {
    await fetchIntel(await cache());
    expect(server.asked).toHaveLength(4);
    await fetchIntel(await cache());
    expect(server.asked).toHaveLength(4);
    nowMs += DAY_MS + 1;
    await fetchIntel(await cache());
    expect(server.asked).toHaveLength(8);
  });

  test("asked for twice at once is fetched once", async () => {
    const shared = await cache();
    await Promise.all([fetchIntel(shared), fetchIntel(shared)]);
    expect(server.asked).toHaveLength(4);
  });

  test("of another platform is not taken", async () => {
    const other = forgeIntel({ tcbInfo: { fmspc: "00A06F000000" } }).endorsements.parts;
    const path = "/tdx/certification/v4/tcb?fmspc=00f06f000000";
    const body = `{"tcbInfo":${fromUtf8(other["tcbInfo"] as Uint8Array)},"signature":"${"00".repeat(64)}"}`;
    answers[path] = { ...(answers[path] as RecordedAnswer), body };
    await expect(fetchIntel(await cache())).rejects.toMatchObject({
      code: "ENDORSEMENTS_UNAVAILABLE",
      message: expect.stringContaining("00a06f000000") as string,
    });
  });

  test("cannot be fetched for a quote without a PCK chain", async () => {
    const bare = { ...evidence, bytes: evidence.bytes.slice() };
    const at = Buffer.from(bare.bytes).indexOf("-----BEGIN");
    bare.bytes.fill(0, at);
    await expect(fetchIntelEndorsements(bare, await cache(), pccs(server.url))).rejects.toMatchObject({
      code: "ENDORSEMENTS_EVIDENCE_UNUSABLE",
    });
  });
});

describe("a service that misbehaves", () => {
  const once: Misbehavior[] = [
    "slow",
    "truncated",
    "busy",
    "broken",
    "wrong-content",
    "endless",
    "redirect",
    "reset",
  ];
  test.each(once)("%s once: asked again", async (misbehavior) => {
    server.misbehaviors.push(misbehavior);
    expect(await fetchIntel(await cache())).toEqual(endorsements);
    expect(server.asked).toHaveLength(5);
  });

  test("too busy: waits as long as it asks, within bounds", async () => {
    server.misbehaviors.push("busy");
    await fetchIntel(await cache());
    expect(slept).toEqual([7000]);
  });

  test.each(once)("%s for good: gives up by name and leaves nothing behind", async (misbehavior) => {
    server.misbehaviors.push(...Array.from({ length: 16 }, () => misbehavior));
    await expect(fetchIntel(await cache())).rejects.toMatchObject({ code: "ENDORSEMENTS_UNAVAILABLE" });
    expect(readdirSync(folder)).toEqual([]);
  });

  test("that knows nothing is not asked again", async () => {
    answers = {};
    await expect(fetchIntel(await cache())).rejects.toMatchObject({ code: "ENDORSEMENTS_NOT_FOUND" });
    expect(server.asked.length).toBeLessThanOrEqual(4);
  });

  test("that went away: yesterday's answers serve", async () => {
    await fetchIntel(await cache());
    nowMs += 2 * DAY_MS;
    server.misbehaviors.push(...Array.from({ length: 16 }, () => "broken" as const));
    expect(await fetchIntel(await cache())).toEqual(endorsements);
  });
});

describe("bundles for places without a network", () => {
  test("carry everything", async () => {
    const online = await cache();
    await fetchIntel(online);
    const bundle = await online.export();
    const elsewhere = mkdtempSync(join(tmpdir(), "cloister-endorsements-"));
    try {
      const offline = await cache({ offline: true }, elsewhere);
      await expect(fetchIntel(offline)).rejects.toMatchObject({ code: "ENDORSEMENTS_OFFLINE" });
      expect(await offline.import(bundle)).toBe(4);
      server.asked.length = 0;
      expect(await fetchIntel(offline)).toEqual(endorsements);
      expect(server.asked).toEqual([]);
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });

  const malformed: [string, Uint8Array][] = [
    ["nothing", new Uint8Array()],
    ["no CBOR", new Uint8Array([0xff, 0, 1])],
    ["another version", encodeCanonical({ version: 2, items: {} })],
    [
      "a name that would leave the folder",
      encodeCanonical({ version: 1, items: { "../../x": new Uint8Array() } }),
    ],
    [
      "an answer of another form",
      encodeCanonical({
        version: 1,
        items: { [`endorsement-${"0".repeat(64)}`]: encodeCanonical({ url: 1 }) },
      }),
    ],
  ];
  test.each(malformed)("of %s are refused", async (_, bundle) => {
    await expect((await cache()).import(bundle)).rejects.toMatchObject({
      code: expect.stringMatching(/^ENDORSEMENTS_BUNDLE_MALFORMED$|^CBOR_/) as string,
    });
  });

  test("a record that a disk fault spoilt is fetched again", async () => {
    await fetchIntel(await cache());
    for (const name of readdirSync(folder)) writeFileSync(join(folder, name), "spoilt");
    expect(await fetchIntel(await cache())).toEqual(endorsements);
  });
});

describe("AMD's certificates", () => {
  test("fetched by chip and TCB verify the report", async () => {
    const fetched = await fetchAmdEndorsements(snpAlone, await cache(), { baseUrl: server.url });
    expect(verify(snpAlone, fetched, { nowMs, roots: simulationRoots })).toMatchObject({ ok: true });
    expect(server.asked).toHaveLength(3);
  });

  test("of a chip are kept for good, lists for a day", async () => {
    await fetchAmdEndorsements(snpAlone, await cache(), { baseUrl: server.url });
    nowMs += 3 * DAY_MS;
    server.asked.length = 0;
    await fetchAmdEndorsements(snpAlone, await cache(), { baseUrl: server.url });
    expect(server.asked.some((path) => path.includes("SPL="))).toBe(false);
    expect(server.asked.some((path) => path.endsWith("/crl"))).toBe(true);
  });

  test("are not taken when they are no certificates", async () => {
    for (const path of Object.keys(answers)) answers[path] = { body: "-----BEGIN NONSENSE-----" };
    await expect(
      fetchAmdEndorsements(snpAlone, await cache(), { baseUrl: server.url }),
    ).rejects.toMatchObject({
      code: "ENDORSEMENTS_UNAVAILABLE",
    });
  });
});

const vectors = process.env["CLOISTER_VECTORS"] ?? join(import.meta.dirname, "../../../../../shared/vectors");
const rimFile = join(vectors, "nvidia/rim-585ccd55.xml");

describe("NVIDIA's manifests", () => {
  test("have identifiers made of what the GPU reports", () => {
    const gpu = {
      chip: "gh100",
      driverVersion: "535.86.05",
      project: "1010",
      projectSku: "0200",
      chipSku: "882",
      vbiosVersion: "96.00.5e.00.01",
    };
    expect(nvidiaRimIds(gpu)).toEqual({
      driver: "NV_GPU_DRIVER_GH100_535.86.05",
      vbios: "NV_GPU_VBIOS_1010_0200_882_96005E0001",
    });
  });

  test.skipIf(!existsSync(rimFile))(
    "are taken with their digest only (needs the vectors folder)",
    async () => {
      const rim = new Uint8Array(readFileSync(rimFile));
      const path = "/NV_GPU_DRIVER_X";
      const body = (digest: string): string =>
        JSON.stringify({ id: "NV_GPU_DRIVER_X", rim: toBase64(rim), sha256: digest });
      answers = { [path]: { body: body("00".repeat(32)) } };
      await expect(fetchNvidiaRim("NV_GPU_DRIVER_X", await cache(), server.url)).rejects.toMatchObject({
        code: "ENDORSEMENTS_UNAVAILABLE",
      });
      answers = { [path]: { body: body(toHex(sha256(rim))) } };
      expect(await fetchNvidiaRim("NV_GPU_DRIVER_X", await cache(), server.url)).toEqual(rim);
    },
  );

  test("an OCSP answer is cached by its request", async () => {
    const good = Uint8Array.from([0x30, 0x03, 0x0a, 0x01, 0x00]);
    answers = { "/": { body: good } };
    const shared = await cache();
    expect(await fetchOcsp(new Uint8Array([1]), shared, `${server.url}/`)).toEqual(good);
    await fetchOcsp(new Uint8Array([1]), shared, `${server.url}/`);
    expect(server.asked).toHaveLength(1);
    await fetchOcsp(new Uint8Array([2]), shared, `${server.url}/`);
    expect(server.asked).toHaveLength(2);
    answers = { "/": { body: Uint8Array.from([0x30, 0x03, 0x0a, 0x01, 0x06]) } };
    await expect(fetchOcsp(new Uint8Array([3]), shared, `${server.url}/`)).rejects.toMatchObject({
      code: "ENDORSEMENTS_UNAVAILABLE",
    });
  });
});
