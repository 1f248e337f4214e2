/** NVIDIA's Reference Integrity Manifest service and its OCSP responder. */
import { parseNvidiaRim } from "@cloister/attestation";
import { CloisterError, fromBase64, fromUtf8, sha256, toHex } from "@cloister/core";
import type { EndorsementCache } from "./cache.ts";
import type { VendorAnswer } from "./http.ts";

export const NVIDIA_RIM_URL = "https://rim.attestation.nvidia.com/v1/rim";
export const NVIDIA_OCSP_URL = "https://ocsp.ndis.nvidia.com";

/** Identifiers of the manifests for a GPU's driver and VBIOS, as NVIDIA composes them. */
export function nvidiaRimIds(gpu: {
  readonly chip: string;
  readonly driverVersion: string;
  readonly project: string;
  readonly projectSku: string;
  readonly chipSku: string;
  readonly vbiosVersion: string;
}): { readonly driver: string; readonly vbios: string } {
  const board = [gpu.project, gpu.projectSku, gpu.chipSku].join("_").toUpperCase();
  return {
    driver: `NV_GPU_DRIVER_${gpu.chip.toUpperCase()}_${gpu.driverVersion}`,
    vbios: `NV_GPU_VBIOS_${board}_${gpu.vbiosVersion.replaceAll(".", "").toUpperCase()}`,
  };
}

/**
 * Fetches a signed manifest by its identifier.
 * @throws {CloisterError} as `EndorsementCache.get`
 */
export async function fetchNvidiaRim(
  id: string,
  cache: EndorsementCache,
  baseUrl = NVIDIA_RIM_URL,
): Promise<Uint8Array> {
  const answer = await cache.get({ url: `${baseUrl}/${encodeURIComponent(id)}` }, (got) => {
    parseNvidiaRim(rimOf(got, id));
    // Manifests of released firmware do not change; what is withdrawn is seen within a day.
    return { nextUpdateMs: Number.MAX_SAFE_INTEGER };
  });
  return rimOf(answer, id);
}

function rimOf({ bytes }: VendorAnswer, id: string): Uint8Array {
  const answer = JSON.parse(fromUtf8(bytes)) as { id?: unknown; rim?: unknown; sha256?: unknown };
  const wrong = (why: string): CloisterError => new CloisterError("ENDORSEMENTS_CONTENT_WRONG", why);
  if (typeof answer.rim !== "string" || (answer.id !== undefined && answer.id !== id))
    throw wrong(`the answer is not the manifest ${id}`);
  const rim = fromBase64(answer.rim);
  if (typeof answer.sha256 === "string" && answer.sha256.toLowerCase() !== toHex(sha256(rim))) {
    throw wrong("the manifest does not have the digest that comes with it");
  }
  return rim;
}

/** Asks an OCSP responder (RFC 6960 A.1); the answer's signature is for `verify` to judge. */
export async function fetchOcsp(
  request: Uint8Array,
  cache: EndorsementCache,
  url = NVIDIA_OCSP_URL,
): Promise<Uint8Array> {
  const body = { bytes: request, contentType: "application/ocsp-request" };
  const answer = await cache.get({ url, body }, ({ bytes }) => {
    // OCSPResponse: a SEQUENCE that begins with ENUMERATED successful (0).
    const at = bytes[1] === undefined || bytes[1] < 0x80 ? 2 : 2 + (bytes[1] & 0x7f);
    if (bytes[0] !== 0x30 || bytes[at] !== 0x0a || bytes[at + 2] !== 0) {
      throw new CloisterError("ENDORSEMENTS_CONTENT_WRONG", "the responder gave no successful answer");
    }
    return { nextUpdateMs: Number.MAX_SAFE_INTEGER };
  });
  return answer.bytes;
}
