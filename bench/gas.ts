import {
  assignmentOf,
  CLIENT,
  offerOf,
  openCall,
  orderOf,
  reportOf,
  secretOf,
  startNetwork,
} from "./gas-network.ts";
import { publishOffer, settleOrder, signStatement, type Chain, type Offer, orderId } from "@cloister/market";

const network = await startNetwork();
const { chain } = network;
async function gas(call: Parameters<Chain["send"]>[0], secret = CLIENT) {
  const r = await chain.send(call, secret);
  return r.kind === "mined" ? Number(r.gasUsed) : -1;
}
async function life(offers: Offer[], salt: bigint) {
  const order = orderOf(chain, offers, salt);
  const open = await gas(openCall(chain, order, offers));
  const { state } = await chain.refresh();
  const escrow = state.orders.get(orderId(chain.deployment, order))!.escrow;
  const a = assignmentOf(chain, order);
  const r = reportOf(chain, order);
  const settle = await gas(
    settleOrder(
      chain.deployment,
      escrow,
      a,
      signStatement(chain.deployment, "Assignment", a, secretOf("node-a")),
      r,
      signStatement(chain.deployment, "Report", r, secretOf("node-b")),
    ),
  );
  return { open, settle, sum: open + settle };
}
try {
  for (const name of ["engine", "data", "d2", "d3"])
    await chain.transfer(
      (await import("@cloister/market")).addressOfSecret(secretOf(name)),
      10n ** 18n,
      CLIENT,
    );
  for (const runsMax of [0, 100]) {
    const engine = offerOf("engine", "engine", { runsMax: 0 });
    const data = offerOf("data", "data", { runsMax });
    const d2 = offerOf("d2", "data", { runsMax });
    const d3 = offerOf("d3", "data", { runsMax });
    for (const [n, o] of [
      ["engine", engine],
      ["data", data],
      ["d2", d2],
      ["d3", d3],
    ] as const)
      console.log("publish", await gas(publishOffer(chain.deployment, o), secretOf(n)));
    console.log(runsMax, await life([engine, data], BigInt(runsMax) + 1n));
    console.log(runsMax, await life([engine, data], BigInt(runsMax) + 2n));
    console.log(runsMax, await life([engine, data, d2, d3], BigInt(runsMax) + 3n));
    console.log(runsMax, await life([engine, data, d2, d3], BigInt(runsMax) + 4n));
  }
} finally {
  network.stop();
}
