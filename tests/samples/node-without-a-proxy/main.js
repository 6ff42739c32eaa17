// Calls profiles with a token of its own, and prints what it answers. GCE_METADATA_HOST says where the demo's
// metadata server is.

import { Invoker } from "invoker";

const invoker = new Invoker({
  credentials: { type: "metadata" },
  audiences: [{ authority: "localhost:18120", audience: "https://profiles.demo.run.app" }],
});
const response = await invoker.fetch("http://localhost:18120/");
if (response.status !== 200) process.exitCode = 1;
console.log(await response.text());
