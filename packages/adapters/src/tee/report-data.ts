import { CloisterError } from "@cloister/core";

const REPORT_DATA_BYTES = 64;

/** @throws {CloisterError} `TEE_REPORT_DATA_SIZE` unless the caller binds exactly 64 bytes. */
export function checkReportData(reportData: Uint8Array): void {
  if (reportData.length === REPORT_DATA_BYTES) return;
  const message = `Evidence binds ${REPORT_DATA_BYTES} bytes; ${reportData.length} were given.`;
  throw new CloisterError("TEE_REPORT_DATA_SIZE", message, {
    hint: "Hash what is to be bound: bindReportData.",
  });
}
