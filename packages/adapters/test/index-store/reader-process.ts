/** Reads a made chain into an index, a block at a time: to be killed anywhere. Says each block on standard output. */
import { DEPLOYMENT } from "../../../market/test/samples.ts";
import { ChainReader } from "../../src/chain/index.ts";
import { openIndexStore } from "../../src/index-store/index.ts";
import { killChain } from "./scripted-chain.ts";

const store = await openIndexStore(process.argv[2] as string, DEPLOYMENT);
const rpc = killChain().rpc(() => "range too large");
const onProgress = ({ block }: { block: number }): void => void process.stdout.write(`${block}\n`);
await new ChainReader({ rpc, deployment: DEPLOYMENT, ledger: store, onProgress }).read();
await store.close();
