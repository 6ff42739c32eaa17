// What a caller sees of the egress component, in jco serve and in Wasmtime.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { request } from "node:http";
import { Readable } from "node:stream";
import { describe, test } from "node:test";
import { ACCOUNT, Emulator } from "../js/support/emulator.js";
import { bearer, Receiver } from "../js/support/receiver.js";
import { Host } from "./support/host.js";

const AUDIENCE = "https://profiles.example.com";

// jco has one instance, Wasmtime one for each of the requests that come at once.
const HOSTS = { jco: { isShared: true }, wasmtime: { isShared: false } };

for (const [name, { isShared }] of Object.entries(HOSTS)) describe(name, () => suite(name, isShared));

function suite(name, isShared) {
  async function start(test, config, environment) {
    const host = await Host[name](test, { ...environment, INVOKER_CONFIG: JSON.stringify(config) }, process.env.EGRESS);
    const call = (authority, options = {}) => host.call({ ...options, headers: { ...options.headers, host: authority } });
    return { host, port: host.port, call };
  }

  async function setUp(test, changes = {}) {
    const emulator = await Emulator.start(test);
    const receiver = await Receiver.start(test, emulator);
    const authority = new URL(receiver.url).host;
    const config = {
      credentials: { type: "metadata" },
      audiences: [
        { authority, audience: AUDIENCE },
        { authority: "profiles.invalid", audience: AUDIENCE },
      ],
      prefetch: false,
      ...(typeof changes === "function" ? changes({ emulator }) : changes),
    };
    const egress = await start(test, config, emulator.environment);
    return { emulator, receiver, authority, egress };
  }

  test("a request arrives with a token that the receiver takes", async (t) => {
    const { receiver, authority, egress, emulator } = await setUp(t);
    const headers = { "x-mine": "1", authorization: "Bearer forged", "proxy-authorization": "Basic mine" };
    const { status, text } = await egress.call(authority, { path: "/users/1?a=b", headers });
    assert.equal(status, 200, text);
    const arrived = JSON.parse(text);
    assert.deepEqual([arrived.path, arrived.headers["x-mine"]], ["/users/1?a=b", "1"]);
    assert.equal(arrived.headers["proxy-authorization"], undefined);
    assert.equal((await receiver.verified(bearer(arrived), AUDIENCE)).email, ACCOUNT);
    // The instance keeps what it has.
    assert.equal((await egress.call(authority)).status, 200);
    assert.equal((await emulator.callsFor(AUDIENCE)).length, 1);
    assert.ok(!egress.host.log.includes(bearer(arrived)), egress.host.log);
  });

  test("concurrent requests make one fetch an instance", async (t) => {
    const { emulator, authority, egress } = await setUp(t);
    const answers = await Promise.all(Array.from({ length: 20 }, () => egress.call(authority)));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    const { length } = await emulator.callsFor(AUDIENCE);
    if (isShared) assert.equal(length, 1);
    else assert.ok(length <= 20, String(length));
    await egress.call(authority);
    assert.equal((await emulator.callsFor(AUDIENCE)).length, length);
  });

  test("50 MB go up and down as they are", async (t) => {
    const { receiver, authority, egress } = await setUp(t);
    const chunk = randomBytes(1 << 20);
    const expected = createHash("sha256");
    for (let at = 0; at < 50; at++) expected.update(chunk);
    const sha256 = expected.digest("hex");
    function* chunks() {
      for (let at = 0; at < 50; at++) yield chunk;
    }
    receiver.routes["/down"] = (_, response) => Readable.from(chunks()).pipe(response);
    const up = JSON.parse((await egress.call(authority, { method: "POST", body: Readable.from(chunks()) })).text);
    assert.deepEqual([up.length, up.sha256], [50 << 20, sha256]);
    const found = createHash("sha256");
    await new Promise((resolve, reject) => {
      request({ host: "127.0.0.1", port: egress.port, path: "/down", headers: { host: authority } }, (response) => {
        response.on("data", (part) => found.update(part)).on("end", resolve).on("error", reject);
      }).end();
    });
    assert.equal(found.digest("hex"), sha256);
  });

  test("an answer begins while the request's body is still on its way", async (t) => {
    const { receiver, authority, egress } = await setUp(t);
    receiver.routes["/echo"] = (incoming, response) => incoming.pipe(response);
    await new Promise((resolve, reject) => {
      const options = { host: "127.0.0.1", port: egress.port, path: "/echo", method: "POST", headers: { host: authority } };
      const message = request(options, (response) => {
        response.once("data", (first) => {
          assert.equal(String(first), "first");
          response.once("data", (last) => assert.equal(String(last), "last"));
          response.once("end", resolve);
          message.end("last");
        });
      });
      message.on("error", reject);
      message.write("first");
    });
  });

  for (const [fault, code, status] of [
    [{ status: 500 }, /server_error|timeout/, 503],
    [{ status: 403 }, /refused/, 500],
    [{ body: "<html>" }, /malformed_answer/, 500],
    [{ body_size: 100_000 }, /malformed_answer/, 500],
    [{ hang: true }, /timeout/, 503],
    [{ close: true }, /callout_unreachable|timeout/, 503],
    [{ token: { lifetime: "-5m" } }, /expired_token|timeout/, 503],
  ]) {
    test(`nothing goes out while the metadata server is ill: ${JSON.stringify(fault)}`, async (t) => {
      const { emulator, receiver, authority, egress } = await setUp(t, { timeout: "1s" });
      await emulator.fault({ path: "/computeMetadata/*", ...fault });
      const denied = await egress.call(authority);
      assert.equal(denied.status, status, denied.text);
      assert.match(denied.text, /^invoker: /);
      assert.match(denied.text, code);
      assert.deepEqual(receiver.arrived, []);
      await emulator.heal();
      const deadline = Date.now() + 30_000;
      while ((await egress.call(authority)).status !== 200) assert.ok(Date.now() < deadline, egress.host.log);
    });
  }

  test("a key gets tokens outside of Google Cloud", async (t) => {
    const { receiver, authority, egress } = await setUp(t, ({ emulator }) => ({
      credentials: { type: "service_account_key", key: emulator.file("key") },
    }));
    const { status, text } = await egress.call(authority);
    assert.equal(status, 200, text);
    assert.equal((await receiver.verified(bearer(JSON.parse(text)), AUDIENCE)).email, ACCOUNT);
  });

  test("beyond loopback a request goes on over TLS, however it came", async (t) => {
    const { egress } = await setUp(t);
    const { status, text } = await egress.call("profiles.invalid");
    assert.equal(status, 502, text);
    assert.match(text, /upstream|can't be reached/);
  });

  test("a client that leaves takes nothing down with it", async (t) => {
    const { receiver, authority, egress } = await setUp(t);
    receiver.routes["/stream"] = async (_, response) => {
      for (let at = 0; at < 100; at++) {
        response.write("more");
        await new Promise(setImmediate);
      }
      response.end();
    };
    await new Promise((resolve) => {
      const options = { host: "127.0.0.1", port: egress.port, path: "/stream", headers: { host: authority } };
      const message = request(options, (response) => response.once("data", () => resolve(message.destroy())));
      message.on("error", () => {}).end();
    });
    assert.equal((await egress.call(authority)).status, 200);
  });

  test("a configuration that is wrong says what is wrong, where the operator looks", async (t) => {
    const { emulator } = await setUp(t);
    const config = { credentials: { type: "metadata", cluster: "metadata" }, audiences: [] };
    const egress = await start(t, config, emulator.environment);
    const { status, text } = await egress.call("profiles.example.com");
    assert.equal(status, 500, text);
    assert.doesNotMatch(text, /cluster/);
    await egress.host.logged(/INVOKER_CONFIG: credentials\.cluster: "metadata" names an Envoy cluster/);
  });
}
