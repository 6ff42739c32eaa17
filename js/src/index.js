export { shareNothingBetweenRequests } from "./engine.js";
export { ConfigError, InvokerError } from "./errors.js";
export { Invoker } from "./invoker.js";
