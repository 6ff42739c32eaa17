// Deno. Reading the module needs its permission to read the package's folder.
import { initSync } from "../core/core.js";

initSync({ module: Deno.readFileSync(new URL("../core/core_bg.wasm", import.meta.url)) });

export { ConfigError, Invoker, InvokerError } from "../src/index.js";
