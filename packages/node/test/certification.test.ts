import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyNodeCertificate } from "@cloister/certification";
import { CloisterError, parseAddress, type Cbor } from "@cloister/core";
import { Certification } from "../src/certification.ts";
import { MessageFields, refusalsBody } from "../src/message.ts";
import type { Channel } from "../src/ports.ts";
import { AuthorityRoom, type Party } from "./authority-room.ts";
import { Disk } from "./key-room.ts";

const DAY_MS = 86_400_000;
const OPERATOR = parseAddress(`0x${"0e".repeat(20)}`);
let room: AuthorityRoom;
let asker: Party;
const sent: string[] = [];
beforeAll(async () => {
  room = await AuthorityRoom.open(3);
  room.stopClock();
  asker = await room.enter("asker", "node");
}, 60_000);
afterAll(() => room.close());

/** Answers as the keeper of the log does. */
async function answer(method: string, body: Cbor): Promise<Cbor> {
  if (method === "certify.challenge") return { challenge: await room.issuer.challenge() };
  const fields = new MessageFields(body);
  const { identity, settlement, wrap } = asker.cvm.keys;
  const evidence = { tee: "tdx" as const, bytes: fields.bytes("evidence") };
  const request = { keys: { identity, settlement, wrap }, challenge: fields.bytes("challenge"), evidence };
  const word = {
    operator: parseAddress(fields.text("operator")),
    signature: fields.bytes("operatorSignature"),
  };
  const issued = await room.issuer.issue(request, word);
  if (!issued.ok) return refusalsBody(issued.refusals);
  const { certificate, endorsements, registration, signature } = issued.value;
  const { issuedAtSeconds, notAfterSeconds } = registration;
  const papers = room.issuer.papers;
  return {
    ...{ certificate, certificateEndorsements: endorsements, issuedAtSeconds, notAfterSeconds, signature },
    authority: papers?.certificate as Uint8Array,
    authorityEndorsements: papers?.endorsements as Uint8Array,
  };
}

function certification(records = new Disk()): Promise<Certification> {
  const keeper = room.parties[0] as Party;
  const { settlement: id, identity } = keeper.cvm.keys;
  return Certification.open({
    ...{ cvm: asker.cvm, realm: room.realm, records, clock: room.clock, operator: OPERATOR },
    chain: {
      ...room.chain,
      refresh: () => room.chain.refresh(),
      send: (call: { description?: string }) => {
        sent.push(String(call.description));
        return Promise.resolve("mined");
      },
    } as never,
    log: { info: () => undefined, warn: () => undefined },
    ...{ operatorSecret: new Uint8Array(32).fill(1), endpoint: "asker", stakeWei: 0n },
    authority: () => Promise.resolve({ peer: { id, identity }, request: answer } as unknown as Channel),
  });
}

test("a node is certified, keeps its certificate over a restart, and renews it by new evidence", async () => {
  const disk = new Disk();
  const one = await certification(disk);
  await one.ensure();
  const first = one.current?.certificate as Uint8Array;
  const options = { authorityKey: room.certificate().key, nowMs: room.clock.nowMs(), realm: room.realm };
  expect(verifyNodeCertificate(first, options).ok).toBe(true);
  expect(sent).toHaveLength(1);
  const again = await certification(disk);
  await again.ensure();
  expect(again.current?.certificate).toEqual(first);
  room.later(0.6 * DAY_MS);
  await again.ensure();
  expect(again.current?.certificate).not.toEqual(first);
  room.later(-0.6 * DAY_MS);
});

test("what it has is kept while its authority has lost a member, and replaced once the authority goes on without", async () => {
  const one = await certification();
  await one.ensure();
  const first = one.current?.certificate;
  const members = room.members().filter(({ endpoint }) => endpoint.startsWith("node-"));
  const lost = members[0] as Party;
  const newcomer = await room.enter("node-4", "node");
  room.state.authorities.set(lost.cvm.keys.settlement, { effectiveAtSeconds: 1, revoked: true });
  await one.ensure();
  expect(one.current?.certificate).toEqual(first);
  room.list(newcomer);
  room.approve(newcomer.cvm.keys.settlement, 5);
  await room.start(newcomer);
  room.startClock();
  await room.until(async () => {
    await room.issuer.found();
    expect(room.certificate().statement.members.map(({ signer }) => signer)).toContain(
      newcomer.cvm.keys.settlement,
    );
  });
  await one.ensure();
  expect(one.current?.certificate).not.toEqual(first);
}, 30_000);

test("an authority that the chain does not approve, or another log's, certifies nobody", async () => {
  const one = await certification();
  const { state } = await room.chain.refresh();
  const approvals = [...state.authorities];
  for (const [id] of approvals) state.authorities.set(id, { effectiveAtSeconds: 1, revoked: true });
  await expect(one.ensure()).rejects.toBeInstanceOf(CloisterError);
  for (const [id, approval] of approvals) state.authorities.set(id, approval);
  const stranger = await Certification.open({
    ...{ cvm: asker.cvm, realm: room.realm, records: new Disk(), clock: room.clock, operator: OPERATOR },
    chain: room.chain,
    log: { info: () => undefined, warn: () => undefined },
    ...{ operatorSecret: new Uint8Array(32), endpoint: "asker", stakeWei: 0n },
    authority: () =>
      Promise.resolve({ peer: { id: OPERATOR, identity: new Uint8Array(32) }, request: answer } as never),
  });
  await expect(stranger.ensure()).rejects.toMatchObject({ code: "AUTHORITY_OTHER" });
});

test.each<[string, (record: Uint8Array) => Uint8Array]>([
  ["cut off", (record) => record.subarray(0, record.length >> 1)],
  ["empty", () => new Uint8Array(0)],
  ["of another kind", () => new Uint8Array([0xa0])],
])("a kept certificate that is %s is replaced by attesting again", async (_name, spoil) => {
  const disk = new Disk();
  await (await certification(disk)).ensure();
  await disk.write("certificates", spoil((await disk.read("certificates")) as Uint8Array));
  const one = await certification(disk);
  expect(one.current).toBeUndefined();
  await one.ensure();
  const options = { authorityKey: room.certificate().key, nowMs: room.clock.nowMs(), realm: room.realm };
  expect(verifyNodeCertificate(one.current?.certificate as Uint8Array, options).ok).toBe(true);
});
