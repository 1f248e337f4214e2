/** The long test of the contracts: `npm run test:contracts`. */
import { testContracts } from "./forge-test.ts";

await testContracts("full");
