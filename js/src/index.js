export { ConfigError, InvokerError } from "./errors.js";
export { Invoker, shareNothingBetweenRequests } from "./invoker.js";
