/** A chain of its own with the contracts, three nodes and a leader, for measuring what calls cost. */
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { deploy, openChain } from "@cloister/adapters/chain";
import { digestOf, fromHex, utf8, type Address, type Hex32 } from "@cloister/core";
import {
  addressOfSecret,
  highestPriceWei,
  NATIVE_TOKEN,
  NODE_ROLES,
  offerId,
  openOrder,
  orderId,
  registerNode,
  signStatement,
  startTerm,
  ZERO_HEX32,
  type Assignment,
  type Call,
  type Chain,
  type DeploymentConfig,
  type NodeCertificate,
  type Offer,
  type OfferTerms,
  type Order,
  type Report,
} from "@cloister/market";
import { keccak256 } from "viem/utils";

/** The key of anvil's first account. */
export const CLIENT = fromHex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
const MEASUREMENT = digestOf(utf8("measured software"));
const VOTERS = ["node-a", "node-b", "node-c"] as const;
const ETHER = 10n ** 18n;
const FAR_SECONDS = 2_000_000_000;

/** A running network and what is needed to speak in its parties' names. */
export interface GasNetwork {
  readonly chain: Chain;
  readonly rpcUrl: string;
  stop(): void;
}

export function secretOf(name: string): Uint8Array {
  return fromHex(keccak256(utf8(name)));
}

export function accountOf(name: string): Address {
  return addressOfSecret(secretOf(name));
}

/** Starts the chain, deploys, registers three nodes and makes `node-a` the leader of term 1. */
export async function startNetwork(): Promise<GasNetwork> {
  const { rpcUrl, stop } = await startAnvil();
  const deployment = await deploy({ rpcUrl, config: config(), secret: CLIENT, nonce: 0, fromBlock: 0 });
  const chain = await openChain({ rpcUrl, deployment });
  for (const name of VOTERS) {
    const certificate = certificateOf(name);
    const signature = signStatement(deployment, "NodeCertificate", certificate, secretOf("authority"));
    await chain.send(registerNode(deployment, certificate, signature, `${name}:1`, ETHER), CLIENT);
  }
  await chain.send(termCall(chain, 1), CLIENT);
  return { chain, rpcUrl, stop };
}

export function certificateOf(name: string, issuedAtSeconds = 1): NodeCertificate {
  return {
    node: accountOf(name),
    operator: addressOfSecret(CLIENT),
    keysDigest: digestOf(utf8(`${name} keys`)),
    certificateDigest: digestOf(utf8(`${name} certificate`)),
    measurement: MEASUREMENT,
    roles: NODE_ROLES.voter + NODE_ROLES.runner,
    issuedAtSeconds,
    notAfterSeconds: FAR_SECONDS,
  };
}

export function termCall(chain: Chain, term: number): Call {
  const vote = { term, candidate: accountOf("node-a") };
  const voters = VOTERS.toSorted((a, b) => (accountOf(a) < accountOf(b) ? -1 : 1)).slice(0, 2);
  const votes = voters.map((name) => signStatement(chain.deployment, "Vote", vote, secretOf(name)));
  return startTerm(chain.deployment, term, vote.candidate, votes);
}

export function offerOf(owner: string, kind: Offer["kind"], terms: Partial<OfferTerms> = {}): Offer {
  const digest = (part: string) => digestOf(utf8(`${owner} ${part}`));
  return {
    owner: accountOf(owner),
    kind,
    terms: {
      token: NATIVE_TOKEN,
      fixedWei: ETHER / 1000n,
      perSecondWei: 0n,
      bookingWei: 0n,
      poolMinWei: 0n,
      shareBps: 0,
      secondsMin: 0,
      secondsMax: 0,
      runsMax: 0,
      validUntilSeconds: FAR_SECONDS,
      accountsRoot: ZERO_HEX32,
      ...terms,
    },
    content: {
      contentDigest: digest("content"),
      sealedDigest: digest("sealed"),
      headerDigest: digest("header"),
      consentDigest: digest("consent"),
      salt: keccak256(utf8(owner)) as Hex32,
    },
  };
}

export function orderOf(chain: Chain, offers: readonly Offer[], salt: bigint): Order {
  const prices = { poolWei: 0n, computeFixedWei: ETHER / 1000n, computePerSecondWei: 0n, secondsMax: 3600 };
  return {
    client: addressOfSecret(CLIENT),
    token: NATIVE_TOKEN,
    depositWei: highestPriceWei(
      prices,
      offers.map((offer) => offer.terms),
    ),
    ...prices,
    deadlineSeconds: FAR_SECONDS,
    offers: offers.map((offer) => offerId(chain.deployment, offer)),
    argsDigest: digestOf(utf8("args")),
    recipientDigest: digestOf(utf8("recipient")),
    goal: ZERO_HEX32,
    salt: BigInt(keccak256(utf8(`salt ${salt}`)).slice(0, 18)),
  };
}

export function openCall(chain: Chain, order: Order, offers: readonly Offer[]): Call {
  return openOrder(
    chain.deployment,
    order,
    offers.map((offer) => ({ offer })),
  );
}

export function assignmentOf(chain: Chain, order: Order): Assignment {
  return { orderId: orderId(chain.deployment, order), node: accountOf("node-b"), term: 1, epoch: 1 };
}

export function reportOf(chain: Chain, order: Order): Report {
  const id = orderId(chain.deployment, order);
  return {
    orderId: id,
    reportDigest: digestOf(utf8(`report of ${id}`)),
    outputDigest: digestOf(utf8(`output of ${id}`)),
    outcome: "succeeded",
    exitCode: 0,
    secondsUsed: 12,
  };
}

function config(): DeploymentConfig {
  return {
    builders: [accountOf("builder")],
    threshold: 1,
    revokeThreshold: 1,
    delaySeconds: 0,
    exitDelaySeconds: 0,
    nodeStakeWei: ETHER,
    forfeitWei: ETHER / 10n,
    authorities: [accountOf("authority")],
    measurements: [MEASUREMENT],
  };
}

async function startAnvil(): Promise<{ rpcUrl: string; stop: () => void }> {
  const manifest = createRequire(import.meta.url).resolve("@foundry-rs/anvil-linux-amd64/package.json");
  const binary = join(dirname(manifest), "bin", "anvil");
  const child = spawn(
    binary,
    ["--host", "127.0.0.1", "--port", "0", ...(process.env["TRACE"] ? ["--steps-tracing"] : [])],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let printed = "";
  for await (const chunk of child.stdout as AsyncIterable<Uint8Array>) {
    printed += String(chunk);
    const port = /Listening on [\d.]+:(\d+)/.exec(printed)?.[1];
    if (port === undefined) continue;
    child.stdout.resume();
    return { rpcUrl: `http://127.0.0.1:${port}`, stop: () => void child.kill("SIGKILL") };
  }
  throw new Error(`anvil ended: ${printed}`);
}
