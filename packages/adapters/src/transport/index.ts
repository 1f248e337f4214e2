export { RaTlsTransport, type Introduced, type RaTlsOptions, type Self } from "./ra-tls.ts";
