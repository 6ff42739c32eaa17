// Calls profiles with a token of its own, and prints what it answers. GCE_METADATA_HOST says where the demo's
// metadata server is.

import { get } from "node:http";
import { Invoker } from "invoker";

const invoker = new Invoker({ credentials: { type: "metadata" } });
const token = await invoker.idToken("https://profiles.demo.run.app");

// On Cloud Run the URL says it all, and `invoker.fetch(url)` is enough. Here two services share an address, told apart by
// a host that `fetch` would not let a program set.
const headers = { host: "profiles.localhost:18120", authorization: `Bearer ${token}` };
get({ host: "127.0.0.1", port: 18120, headers }, (response) => {
  if (response.statusCode !== 200) process.exitCode = 1;
  response.pipe(process.stdout);
});
