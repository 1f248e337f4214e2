import {
  checkCcaToken,
  describeArmCca,
  describeArmPsa,
  parseAnyPublicKey,
  parseCcaToken,
  pinOf,
  verify,
  type Evidence,
} from "../../src/index.ts";
import { answerOf, readable } from "./answer.ts";
import { pathOf, timeOf, type Judge } from "./entry.ts";

/** CCA tokens, under the platform's key that the entry names: makers' keys have no root above them. */
export const judgeCcaToken: Judge = (entry, load, main) => {
  const evidence: Evidence = { tee: "arm-cca", bytes: main ?? load(pathOf(entry, "token")) };
  const key = load(pathOf(entry, "platformKey"));
  const verdict = verify(evidence, { tee: "arm-cca", parts: { key } }, optionsOf(key, timeOf(entry)));
  const codes = verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
  const checks = readable(() => checkCcaToken(parseCcaToken(evidence.bytes)));
  return answerOf(verdict, () => describeArmCca(evidence), {
    checks: {
      platformSignature: checks !== undefined && !UNSIGNED_CCA.some((code) => codes.includes(code)),
      ...checks,
    },
  });
};

/** PSA tokens, under the device's key that the entry names. */
export const judgePsaToken: Judge = (entry, load, main) => {
  const evidence: Evidence = { tee: "arm-psa", bytes: main ?? load(pathOf(entry, "token")) };
  const key = load(pathOf(entry, "key"));
  const verdict = verify(evidence, { tee: "arm-psa", parts: { key } }, optionsOf(key, timeOf(entry)));
  const codes = verdict.ok ? [] : verdict.refusals.map(({ code }) => code);
  const fields = readable(() => describeArmPsa(evidence));
  return answerOf(verdict, () => fields ?? {}, {
    signature: fields !== undefined && !UNSIGNED_PSA.some((code) => codes.includes(code)),
  });
};

const UNSIGNED_CCA = ["ARM_CCA_PLATFORM_SIGNATURE_INVALID", "ARM_KEY_MALFORMED"];
const UNSIGNED_PSA = ["ARM_PSA_SIGNATURE_INVALID", "ARM_PSA_SYMMETRIC", "ARM_KEY_MALFORMED"];

function optionsOf(key: Uint8Array, nowMs: number): Parameters<typeof verify>[2] {
  const pin = readable(() => pinOf(parseAnyPublicKey(key)));
  return { nowMs, roots: { simulated: false, pins: { arm: pin === undefined ? [] : [pin] } } };
}
