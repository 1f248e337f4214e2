export { LIMITS_DEFAULT, type TransportLimits } from "./limits.ts";
export { RaTlsTransport, type Introduced, type RaTlsOptions, type Self } from "./ra-tls.ts";
