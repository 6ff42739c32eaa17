// A real workerd with the package in a Worker.

import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const tests = fileURLToPath(new URL("..", import.meta.url));
const installed = join(tests, "node_modules", "invoker");

/** Ends with the test; resolves with its URL. `bindings` are JSON values by name. */
export async function startWorkerd(test, bindings) {
  const folder = mkdtempSync(join(tmpdir(), "invoker-workerd-"));
  const file = join(folder, "config.capnp");
  writeFileSync(file, configuration(folder, bindings));
  const child = spawn(join(tests, "node_modules/.bin/workerd"), ["serve", "--control-fd=3", file], {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  });
  test.after(() => {
    child.kill();
    rmSync(folder, { recursive: true });
  });
  for await (const line of createInterface({ input: child.stdio[3] })) {
    const { event, port } = JSON.parse(line);
    if (event === "listen") return `http://127.0.0.1:${port}`;
  }
  throw new Error("workerd ended at once");
}

function configuration(folder, bindings) {
  const embedded = (path) => `embed ${JSON.stringify(relative(folder, path))}`;
  const modules = readdirSync(installed, { recursive: true })
    .filter((name) => /\.(js|wasm)$/.test(name) && !/entry\/(node|deno)/.test(name))
    .map((name) => {
      const kind = name.endsWith(".wasm") ? "wasm" : "esModule";
      return `(name = "invoker/${name}", ${kind} = ${embedded(join(installed, name))})`;
    });
  // Capnp's strings are written as JSON's.
  const values = Object.entries(bindings).map(([name, value]) => {
    const isText = typeof value === "string";
    const text = JSON.stringify(isText ? value : JSON.stringify(value));
    return `(name = "${name}", ${isText ? "text" : "json"} = ${text})`;
  });
  return `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  compatibilityDate = "2025-01-01",
  globalOutbound = "internet",
  modules = [
    (name = "worker.js", esModule = ${embedded(join(tests, "workerd", "worker.js"))}),
    ${modules.join(",\n    ")},
  ],
  bindings = [${values.join(", ")}],
);
`;
}
