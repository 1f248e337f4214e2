export { consentDigest, decodeConsent, encodeConsent, formatConsent, parseConsent } from "./codec.ts";
export { diffConsent, explainConsent, judgeConsent, type ConsentChange } from "./judge.ts";
export { CONSENT_VERSION, type ConsentPolicy, type PlannedUse } from "./policy.ts";
export {
  consentSigningDigest,
  consentTypedData,
  verifyConsentSignature,
  type ConsentStatement,
  type ConsentTypedData,
} from "./signature.ts";
export {
  formatSignedConsent,
  isSignedConsent,
  judgeSignedConsent,
  parseSignedConsent,
  type SignedConsent,
} from "./signed.ts";
