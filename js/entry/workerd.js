// Cloudflare's workerd: it compiles modules only from the bundle, and no request may await another one's IO.
import module from "../core/core_bg.wasm";
import { initSync } from "../core/core.js";
import { shareNothingBetweenRequests } from "../src/index.js";

initSync({ module });
shareNothingBetweenRequests();

export { ConfigError, Invoker, InvokerError } from "../src/index.js";
