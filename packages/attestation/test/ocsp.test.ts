import { describe, expect, test } from "vitest";
import {
  buildCertificate,
  buildOcspRequest,
  childrenOf,
  derOid,
  derSequence,
  nameOf,
  parseCertificate,
  pemBlocks,
  readDer,
  usageExtensions,
  verify,
  verifyOcsp,
  type Certificate,
} from "../src/index.ts";
import { fromUtf8 } from "@cloister/core";
import { FORGED_NOW_MS } from "./forger/intel.ts";
import { forgedNvidiaKeys, forgedNvidiaRoots, forgeNvidia } from "./forger/nvidia.ts";
import { forgeOcsp, type OcspForgery } from "./forger/ocsp.ts";

const HOUR_MS = 3_600_000;
const { evidence, endorsements } = forgeNvidia();
const [, certificate, issuer] = pemBlocks(fromUtf8(evidence.parts?.["chain"] as Uint8Array)).map(
  parseCertificate,
) as [Certificate, Certificate, Certificate];
const { root, stranger } = forgedNvidiaKeys;
const HOLD = 6;
const KEY_COMPROMISE = 1;

function answer(forgery: Partial<OcspForgery> = {}): Uint8Array {
  return forgeOcsp({ certificate, issuer, signedBy: root, ...forgery });
}

function codes(forgery: Partial<OcspForgery>): string[] {
  const verdict = verifyOcsp(answer(forgery), { certificate, issuer, nowMs: FORGED_NOW_MS });
  return verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
}

/** A responder's certificate, of the issuer's making or of a stranger's, for OCSP or for anything. */
function responder(by = root, forOcsp = true, notAfterMs = FORGED_NOW_MS + HOUR_MS): Uint8Array {
  const usage = { oid: "2.5.29.37", critical: false, value: derSequence(derOid("1.3.6.1.5.5.7.3.9")) };
  return buildCertificate(
    {
      serial: new Uint8Array([9]),
      issuer: issuer.subject,
      subject: nameOf("Forged responder", "Forger"),
      notBeforeMs: FORGED_NOW_MS - HOUR_MS,
      notAfterMs,
      publicKey: stranger.publicKey,
      extensions: [...usageExtensions({ authority: false }), ...(forOcsp ? [usage] : [])],
    },
    by.issuer,
  );
}

describe("answers", () => {
  test.each([
    ["good", { status: "good" }],
    ["unknown", { status: "unknown" }],
    [HOLD, { status: "revoked", reason: "certificateHold" }],
    [KEY_COMPROMISE, { status: "revoked", reason: "keyCompromise" }],
  ] as const)("%s are read", (status, value) => {
    const verdict = verifyOcsp(answer({ status }), { certificate, issuer, nowMs: FORGED_NOW_MS });
    expect(verdict).toMatchObject({ ok: true, value });
  });

  test("may come from a responder that the issuer named", () => {
    expect(codes({ signedBy: stranger, certificates: [responder()] })).toEqual([]);
  });

  test.each<[string, Partial<OcspForgery>, string]>([
    ["of a stranger", { signedBy: stranger }, "OCSP_SIGNATURE_INVALID"],
    [
      "of a responder that named itself",
      { signedBy: stranger, certificates: [responder(stranger)] },
      "OCSP_SIGNATURE_INVALID",
    ],
    [
      "of a certificate that is not for OCSP",
      { signedBy: stranger, certificates: [responder(root, false)] },
      "OCSP_SIGNATURE_INVALID",
    ],
    [
      "of an expired responder",
      { signedBy: stranger, certificates: [responder(root, true, FORGED_NOW_MS - 1)] },
      "OCSP_SIGNATURE_INVALID",
    ],
    ["that expired", { nextUpdateMs: FORGED_NOW_MS - 1 }, "OCSP_EXPIRED"],
    ["from the future", { thisUpdateMs: FORGED_NOW_MS + HOUR_MS }, "OCSP_EXPIRED"],
    [
      "of old without an end",
      { thisUpdateMs: FORGED_NOW_MS - 48 * HOUR_MS, nextUpdateMs: null },
      "OCSP_EXPIRED",
    ],
    ["about another certificate", { certificate: issuer }, "OCSP_OTHER_CERTIFICATE"],
    ["of another issuer", { issuer: certificate }, "OCSP_OTHER_CERTIFICATE"],
    ["with a hash that is not known", { hash: "1.3.14.3.2.26" }, "OCSP_OTHER_CERTIFICATE"],
    ["that are none", { responseStatus: 3 }, "OCSP_MALFORMED"],
  ])("%s are refused", (_, forgery, code) => {
    expect(codes(forgery)).toEqual([code]);
  });

  test("that are cut off are refused", () => {
    const bytes = answer();
    for (let length = 0; length < bytes.length; length += 7) {
      const verdict = verifyOcsp(bytes.subarray(0, length), { certificate, issuer, nowMs: FORGED_NOW_MS });
      expect(verdict).toMatchObject({ ok: false, refusals: [{ code: "OCSP_MALFORMED" }] });
    }
  });
});

test("requests name each certificate and its issuer", () => {
  const request = readDer(buildOcspRequest([{ certificate, issuer }]));
  const [list] = childrenOf(childrenOf(request)[0] as ReturnType<typeof readDer>);
  expect(list && childrenOf(list)).toHaveLength(1);
});

describe("GPUs", () => {
  const judge = (ocsp: Readonly<Record<string, Uint8Array>>) => {
    const { crl: _, ...parts } = endorsements.parts;
    const options = { nowMs: FORGED_NOW_MS, roots: forgedNvidiaRoots };
    return verify(evidence, { tee: "nvidia", parts: { ...parts, ...ocsp } }, options);
  };

  test("count as checked with a good answer, and as unchecked without any", () => {
    expect(judge({ ocsp0: answer() })).toMatchObject({ ok: true, value: { revocationChecked: true } });
    expect(judge({})).toMatchObject({ ok: true, value: { revocationChecked: false } });
  });

  test("on hold have a status that policy must accept", () => {
    expect(judge({ ocsp0: answer({ status: HOLD }) })).toMatchObject({
      ok: true,
      value: { tcb: { status: "OutOfDate", advisoryIds: ["certificateHold"] } },
    });
  });

  test.each([
    ["revoked", { status: KEY_COMPROMISE }, "NVIDIA_CERTIFICATE_REVOKED"],
    ["unknown", { status: "unknown" as const }, "NVIDIA_CERTIFICATE_REVOKED"],
    ["answered by a stranger", { signedBy: stranger }, "OCSP_SIGNATURE_INVALID"],
  ])("%s are refused", (_, forgery, code) => {
    expect(judge({ ocsp0: answer(forgery) })).toMatchObject({ ok: false, refusals: [{ code }] });
  });
});
