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
    testTimeout: 30_000,
    maxWorkers: 2,
    coverage: {
      provider: "v8",
      include: ["packages/*/{src,native}/**/*.ts", "apps/*/src/**/*.ts"],
      exclude: ["**/generated/**"],
    },
  },
});
