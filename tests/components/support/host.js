// Components in real hosts: `jco serve`, and Wasmtime as tests/components/wasmtime has it.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { request } from "node:http";
import { fileURLToPath } from "node:url";

const jco = fileURLToPath(new URL("../node_modules/.bin/jco", import.meta.url));

/** jco takes no 0 for a port that it would then say. */
async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function accepts(port) {
  try {
    await new Promise((resolve, reject) => {
      const probe = connect(port, "127.0.0.1", () => resolve(probe.end()));
      probe.on("error", reject);
    });
    return true;
  } catch {
    return false;
  }
}

export class Host {
  /** Serves a component in jco; ends with the test. */
  static async jco(test, environment, component) {
    const folder = mkdtempSync(join(tmpdir(), "invoker-component-"));
    test.after(() => rmSync(folder, { recursive: true, force: true }));
    const port = await freePort();
    const flags = ["--host", "127.0.0.1", "--port", String(port), "--jco-dir", folder];
    const host = new Host(test, process.execPath, [jco, "serve", ...flags, component], environment);
    host.port = await host.#until("it is ready", async () => (await accepts(port)) && port);
    return host;
  }

  /** Serves in Wasmtime what these name: settings, a component, and a plug to compose it with; ends with the test. */
  static async wasmtime(test, environment, ...args) {
    const host = new Host(test, process.env.WASMTIME_HOST, args, environment);
    host.port = await host.#until("it is ready", () => /listening on 127\.0\.0\.1:(\d+)/.exec(host.log)?.[1]);
    return host;
  }

  /** All that it wrote. */
  log = "";

  constructor(test, program, args, environment) {
    const options = { env: { ...process.env, ...environment }, detached: true, stdio: ["ignore", "pipe", "pipe"] };
    this.child = spawn(program, args, options);
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on("data", (data) => (this.log += data));
    // With all that it started.
    test.after(() => process.kill(-this.child.pid, "SIGKILL"));
  }

  async #until(what, ready) {
    const deadline = Date.now() + 60_000;
    for (;;) {
      const found = await ready();
      if (found) return found;
      if (this.child.exitCode !== null) throw new Error(`the host ended before ${what}: ${this.log}`);
      if (Date.now() > deadline) throw new Error(`a minute went by before ${what}: ${this.log}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** The lines that match, once there are so many: what a host writes may arrive after its answer. */
  logged(pattern, atLeast = 1) {
    return this.#until(`its log said ${pattern}`, () => {
      const lines = this.log.split("\n").slice(0, -1).filter((line) => pattern.test(line));
      return lines.length >= atLeast && lines;
    });
  }

  /** Sends a request; resolves with its whole answer. */
  async call({ path = "/", method = "GET", headers = {}, body } = {}) {
    const response = await new Promise((resolve, reject) => {
      const options = { host: "127.0.0.1", port: this.port, path, method, headers };
      const message = request(options, resolve).on("error", reject);
      if (body?.pipe) body.pipe(message);
      else message.end(body);
    });
    const chunks = [];
    for await (const chunk of response) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    return { status: response.statusCode, headers: response.headers, trailers: response.trailers, text };
  }
}
