import type { Digest } from "@cloister/core";
import { objectStoreCompliance } from "./compliance.ts";
import { MemoryStore } from "./memory.ts";

objectStoreCompliance(async () => {
  const store = new MemoryStore();
  return {
    store,
    spoil: async (digest: Digest) => {
      const bytes = Uint8Array.from(store.objects.get(digest) as Uint8Array);
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
      store.objects.set(digest, bytes);
    },
  };
});
