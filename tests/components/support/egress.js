// The egress component in a real `jco serve`.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { request } from "node:http";
import { fileURLToPath } from "node:url";

const jco = fileURLToPath(new URL("../node_modules/.bin/jco", import.meta.url));
const component = process.env.EGRESS;

/** jco takes no 0 for a port that it would then say. */
async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class Egress {
  /** Ends with the test. */
  static async start(test, config, environment = {}) {
    const folder = mkdtempSync(join(tmpdir(), "invoker-egress-"));
    const port = await freePort();
    const text = typeof config === "string" ? config : JSON.stringify(config);
    const child = spawn(
      process.execPath,
      [jco, "serve", "--host", "127.0.0.1", "--port", String(port), "--jco-dir", folder, component],
      { env: { ...process.env, ...environment, INVOKER_CONFIG: text }, detached: true, stdio: ["ignore", "pipe", "pipe"] },
    );
    const egress = new Egress(port, child);
    test.after(() => {
      // With all that it started.
      process.kill(-child.pid, "SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    });
    await egress.#ready();
    return egress;
  }

  /** All that it wrote. */
  log = "";

  constructor(port, child) {
    this.port = port;
    this.pid = child.pid;
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (this.log += data));
  }

  async #ready() {
    const deadline = Date.now() + 60_000;
    for (;;) {
      if (this.child.exitCode !== null || Date.now() > deadline) throw new Error(`jco serve is not ready: ${this.log}`);
      try {
        await new Promise((resolve, reject) => {
          const probe = connect(this.port, "127.0.0.1", () => resolve(probe.end()));
          probe.on("error", reject);
        });
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** Sends a request for that authority; resolves with its whole answer. */
  async call(authority, { path = "/", method = "GET", headers = {}, body } = {}) {
    const response = await new Promise((resolve, reject) => {
      const options = { host: "127.0.0.1", port: this.port, path, method, headers: { ...headers, host: authority } };
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
