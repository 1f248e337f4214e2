export { fetchAmdEndorsements } from "./amd.ts";
export { EndorsementCache, type EndorsementCacheOptions } from "./cache.ts";
export { fetchIntelEndorsements, intelService, pccs, type IntelService } from "./intel.ts";
export { fetchNvidiaRim, fetchOcsp, nvidiaRimIds } from "./nvidia.ts";
