import { keccak256 } from "viem/utils";
import { digestOf, fromHex, utf8, type Address, type Digest, type Hex32, type OrderId } from "@cloister/core";
import {
  addressOfSecret,
  highestPriceWei,
  NATIVE_TOKEN,
  NODE_ROLES,
  offerId,
  openOrder,
  orderId,
  registerNode,
  settleOrder,
  signStatement,
  startTerm,
  ZERO_HEX32,
  type Assignment,
  type Call,
  type Chain,
  type Deployment,
  type DeploymentConfig,
  type NodeCertificate,
  type Offer,
  type OfferTerms,
  type Order,
  type Report,
} from "@cloister/market";

/** A secret that a name stands for. */
export function secretOf(name: string): Uint8Array {
  return fromHex(keccak256(utf8(name)));
}

export function accountOf(name: string): Address {
  return addressOfSecret(secretOf(name));
}

export const MEASUREMENT = digestOf(utf8("measured software"));
export const NODES = ["node-a", "node-b", "node-c"] as const;

/** The key of anvil's first account. */
export const RICH = fromHex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");

export function testConfig(): DeploymentConfig {
  return {
    builders: [accountOf("builder-1"), accountOf("builder-2"), accountOf("builder-3")],
    threshold: 2,
    revokeThreshold: 1,
    delaySeconds: 0,
    exitDelaySeconds: 0,
    nodeStakeWei: 10n ** 18n,
    forfeitWei: 10n ** 17n,
    authorities: [accountOf("authority")],
    measurements: [MEASUREMENT],
  };
}

export function certificateOf(
  name: string,
  issuedAtSeconds = 1,
  operator = addressOfSecret(RICH),
): NodeCertificate {
  return {
    node: accountOf(name),
    operator,
    keysDigest: digestOf(utf8(`${name} keys`)),
    certificateDigest: digestOf(utf8(`${name} certificate`)),
    measurement: MEASUREMENT,
    roles: NODE_ROLES.voter + NODE_ROLES.runner,
    issuedAtSeconds,
    notAfterSeconds: 4_000_000_000,
  };
}

/** Registers the three nodes, each for its operator, and makes the first their leader in term 1. */
export async function formSwarm(
  chain: Chain,
  operatorOf: (name: string) => Uint8Array = () => RICH,
): Promise<void> {
  for (const name of NODES) {
    const operator = operatorOf(name);
    const certificate = certificateOf(name, 1, addressOfSecret(operator));
    const signature = signStatement(chain.deployment, "NodeCertificate", certificate, secretOf("authority"));
    await chain.send(
      registerNode(chain.deployment, certificate, signature, `tls://${name}`, 10n ** 18n),
      operator,
    );
  }
  await chain.send(termCall(chain.deployment, 1, "node-a"), RICH);
}

export function termCall(deployment: Deployment, term: number, leader: string): Call {
  const candidate = accountOf(leader);
  const voters = NODES.toSorted((a, b) => (accountOf(a) < accountOf(b) ? -1 : 1));
  const signatures = voters.map((name) =>
    signStatement(deployment, "Vote", { term, candidate }, secretOf(name)),
  );
  return startTerm(deployment, term, candidate, signatures);
}

export function offerOf(owner: string, kind: Offer["kind"], terms: Partial<OfferTerms> = {}): Offer {
  return {
    owner: accountOf(owner),
    kind,
    terms: {
      token: NATIVE_TOKEN,
      fixedWei: 1000n,
      perSecondWei: 0n,
      bookingWei: 0n,
      poolMinWei: 0n,
      shareBps: 0,
      secondsMin: 0,
      secondsMax: 0,
      runsMax: 0,
      validUntilSeconds: 0,
      accountsRoot: ZERO_HEX32,
      ...terms,
    },
    content: {
      contentDigest: digestOf(utf8(`${owner} content`)),
      sealedDigest: digestOf(utf8(`${owner} sealed`)),
      headerDigest: digestOf(utf8(`${owner} header`)),
      consentDigest: digestOf(utf8(`${owner} consent`)),
      salt: keccak256(utf8(owner)) as Hex32,
    },
  };
}

export function orderOf(
  deployment: Deployment,
  offers: readonly Offer[],
  salt: bigint,
  deadlineSeconds: number,
): Order {
  const prices = { poolWei: 10_000n, computeFixedWei: 500n, computePerSecondWei: 2n, secondsMax: 60 };
  return {
    client: addressOfSecret(RICH),
    token: NATIVE_TOKEN,
    depositWei: highestPriceWei(
      prices,
      offers.map((offer) => offer.terms),
    ),
    ...prices,
    deadlineSeconds,
    offers: offers.map((offer) => offerId(deployment, offer)),
    argsDigest: digestOf(utf8("args")),
    recipientDigest: digestOf(utf8("recipient")),
    goal: ZERO_HEX32,
    salt,
  };
}

/** Opens an order on offers that are signed, not published. */
export function openCall(
  deployment: Deployment,
  order: Order,
  offers: readonly (readonly [string, Offer])[],
): Call {
  return openOrder(
    deployment,
    order,
    offers.map(([owner, offer]) => ({
      offer,
      signature: signStatement(deployment, "Offer", offer, secretOf(owner)),
    })),
  );
}

export function settleCall(chain: Chain, order: Order, report: Partial<Report> = {}, term = 1): Call {
  return settleCallOf(chain, orderId(chain.deployment, order), report, term);
}

export function settleCallOf(chain: Chain, id: OrderId, report: Partial<Report> = {}, term = 1): Call {
  const { deployment } = chain;
  const record = chain.view()?.state.orders.get(id);
  if (record === undefined) throw new Error("The order is not open.");
  const node = accountOf("node-b");
  const assignment: Assignment = { orderId: id, node, term, epoch: 1 };
  const full: Report = {
    orderId: id,
    reportDigest: digestOf(utf8("report")),
    outputDigest: digestOf(utf8("output")),
    outcome: "succeeded",
    exitCode: 0,
    secondsUsed: 7,
    ...report,
  };
  return settleOrder(
    deployment,
    record.escrow,
    assignment,
    signStatement(deployment, "Assignment", assignment, secretOf("node-a")),
    full,
    signStatement(deployment, "Report", full, secretOf("node-b")),
  );
}

export function digestNamed(name: string): Digest {
  return digestOf(utf8(name));
}
