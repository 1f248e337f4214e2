import { simulationRoots } from "@cloister/attestation";
import { toHex } from "@cloister/core";
import { expect, test } from "vitest";
import {
  assembleProof,
  authoritySlot,
  measurementApprovalSlot,
  measurementIndexSlot,
  reportAnchorSlot,
  reportAnchorWord,
  verifyProof,
  type ProofPieces,
} from "../../src/index.ts";
import { anvil, startAnvil } from "../anvil.ts";
import { authorityStatement, key, NOW_MS, realm, signer } from "../world.ts";
import { endorsements, forgeProof, measurement } from "./forger.ts";

const roots = [simulationRoots];

async function pieces(): Promise<ProofPieces> {
  const { parts, evidence } = await forgeProof();
  const { authority, certificate, report, log } = parts;
  return { authority, certificate, report, evidence: [evidence], endorsements: [endorsements], receipt: log };
}

/** A real chain whose contracts hold what the anchors and approvals of the sample are. */
async function chainWithAnchor(binary: string, anchored = true) {
  const chain = await startAnvil(binary, ["--timestamp", String(NOW_MS / 1000)]);
  const { signed } = await forgeProof();
  const { orderId } = signed.report.integrity;
  const set = (address: string, slot: string, hex: string): Promise<unknown> =>
    chain.call("anvil_setStorageAt", [address, slot, `0x${hex.padStart(64, "0")}`]);
  if (anchored)
    await set(realm.contract, reportAnchorSlot(orderId), toHex(reportAnchorWord(orderId, signed.digest)));
  await set(realm.contract, `0x${"77".repeat(32)}`, "01");
  await set(realm.registry, measurementIndexSlot(measurement), "01");
  await set(realm.registry, measurementApprovalSlot(1), "03e8");
  await set(realm.registry, authoritySlot(authorityStatement.members[0].signer), "03e8");
  for (const address of [realm.contract, realm.registry])
    await chain.call("anvil_setCode", [address, "0x00"]);
  await chain.call("anvil_mine", ["0x3"]);
  await chain.call("evm_setNextBlockTimestamp", [NOW_MS / 1000 + 120]);
  await chain.call("anvil_mine", ["0x1"]);
  return chain;
}

test.skipIf(anvil === undefined)(
  "a proof is put together from a real chain's answers and verifies (needs anvil)",
  async () => {
    const chain = await chainWithAnchor(anvil as string);
    try {
      const bytes = await assembleProof(await pieces(), chain);
      const result = verifyProof(bytes, { roots, realm });
      expect(result.refusals).toEqual([]);
      expect(result.block?.hash).toBe((await chain.latestBlock())["hash"]);
      const vouchWith = { identity: key("identity"), sign: signer("identity") };
      const vouched = verifyProof(await assembleProof({ ...(await pieces()), vouchWith }, chain), {
        roots,
        realm,
      });
      expect(vouched.verified).toBe(true);
      expect(vouched.unknown.join(" ")).toContain("The node's machine vouches");
    } finally {
      chain.stop();
    }
  },
);

test.skipIf(anvil === undefined)(
  "a proof that comes before its anchor is refused (needs anvil)",
  async () => {
    const chain = await chainWithAnchor(anvil as string, false);
    try {
      const result = verifyProof(await assembleProof(await pieces(), chain), { roots });
      expect(result.refusals.map(({ code }) => code)).toEqual(["PROOF_ANCHOR_MISMATCH"]);
    } finally {
      chain.stop();
    }
  },
);

test("pieces that do not belong together are not put together", async () => {
  const chain = {
    latestBlock: () => Promise.reject(new Error("unused")),
    stateProof: () => Promise.reject(new Error("unused")),
  };
  const whole = await pieces();
  await expect(assembleProof({ ...whole, authority: whole.certificate }, chain)).rejects.toMatchObject({
    code: "CERTIFICATE_MALFORMED",
  });
  const { parts } = await forgeProof({ nodeSigner: "impostor" });
  await expect(assembleProof({ ...whole, certificate: parts.certificate }, chain)).rejects.toMatchObject({
    code: "CERTIFICATE_SIGNATURE_INVALID",
  });
});
