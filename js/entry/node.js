// Node.js, and what takes its place.
import { readFileSync } from "node:fs";
import { initSync } from "../core/core.js";

initSync({ module: readFileSync(new URL("../core/core_bg.wasm", import.meta.url)) });

export { ConfigError, Invoker, InvokerError } from "../src/index.js";
