// Calls profiles, and prints what it answers.

import { get } from "node:http";

const sidecar = { host: "127.0.0.1", port: 18100, headers: { host: "profiles.localhost:18100" } };

get(sidecar, (response) => {
  if (response.statusCode !== 200) process.exitCode = 1;
  response.pipe(process.stdout);
});
