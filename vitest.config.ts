import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: [
      "packages/*/test/**/*.test.ts",
      "apps/*/test/**/*.test.ts",
      "contracts/test/**/*.test.ts",
      "tools/test/**/*.test.ts",
      "test/**/*.test.ts",
    ],
    exclude: ["**/node_modules/**", "**/dist/**"],
    testTimeout: 60_000,
    maxWorkers: 2,
    // A transcript that is missing is a failure, not a reason to write one: `vitest -u` does that on purpose.
    update: process.argv.includes("-u") || process.argv.includes("--update") ? "all" : "none",
    coverage: {
      provider: "v8",
      include: ["packages/*/{src,native}/**/*.ts", "apps/*/src/**/*.ts"],
      exclude: ["**/generated/**"],
    },
  },
});
