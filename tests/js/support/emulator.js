// `invoker emulate`, an own one for each test that makes it ill.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";

export const ACCOUNT = "login@shop-42.iam.gserviceaccount.com";

const command = process.env.INVOKER;
assert.ok(command, "no emulator to test against; start the tests with tests/js/run");

export class Emulator {
  /** Ends with the test. */
  static async start(test, ...options) {
    const folder = mkdtempSync(join(tmpdir(), "invoker-js-"));
    const files = Object.fromEntries(
      ["key", "external-account", "impersonated-service-account"].map((kind) => [kind, join(folder, `${kind}.json`)]),
    );
    const writing = Object.entries(files).flatMap(([kind, file]) => [`--write-${kind}`, `${ACCOUNT}=${file}`]);
    const child = spawn(command, ["emulate", "--service-account", ACCOUNT, ...writing, ...options], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    test.after(() => {
      child.kill();
      rmSync(folder, { recursive: true });
    });
    for await (const line of createInterface({ input: child.stdout })) {
      const announced = /^invoker emulate: listening on (http:\/\/\S+)$/.exec(line);
      assert.ok(announced, line);
      return new Emulator(announced[1], files);
    }
    throw new Error("the emulator ended at once");
  }

  constructor(url, files) {
    this.url = url;
    this.files = files;
  }

  /** What a program's environment says, so that the metadata server is this one. */
  get environment() {
    return { GCE_METADATA_HOST: new URL(this.url).host };
  }

  file(kind) {
    return JSON.parse(readFileSync(this.files[kind], "utf8"));
  }

  async fault(fields) {
    const response = await fetch(`${this.url}/_emulator/faults`, { method: "POST", body: JSON.stringify(fields) });
    assert.equal(response.status, 201, await response.text());
  }

  async heal() {
    const response = await fetch(`${this.url}/_emulator/faults`, { method: "DELETE" });
    assert.ok(response.ok);
    await response.body?.cancel();
  }

  async calls() {
    return (await fetch(`${this.url}/_emulator/requests`)).json();
  }

  async callsFor(audience) {
    return (await this.calls()).filter((call) => call.audience === audience);
  }
}
