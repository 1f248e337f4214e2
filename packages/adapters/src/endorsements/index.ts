export { AMD_KDS_URL, fetchAmdEndorsements } from "./amd.ts";
export { EndorsementCache, type EndorsementCacheOptions } from "./cache.ts";
export { askVendor, type HttpOptions, type VendorAnswer, type VendorRequest } from "./http.ts";
export { fetchIntelEndorsements, intelService, pccs, type IntelService } from "./intel.ts";
export { fetchNvidiaRim, fetchOcsp, nvidiaRimIds, NVIDIA_OCSP_URL, NVIDIA_RIM_URL } from "./nvidia.ts";
