import { pinEngines } from "./build-engine.ts";

process.stdout.write(`${JSON.stringify(await pinEngines(), undefined, 2)}\n`);
