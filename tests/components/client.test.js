// What an application sees that is composed with the client plug and knows nothing of it, in Wasmtime.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { request } from "node:http";
import { Readable } from "node:stream";
import { test } from "node:test";
import { ACCOUNT, Emulator } from "../js/support/emulator.js";
import { bearer, Receiver } from "../js/support/receiver.js";
import { Host } from "./support/host.js";

const AUDIENCE = "https://profiles.example.com";
const { CLIENT, FORWARD, TELLER } = process.env;

async function setUp(test, changes = {}, application = FORWARD) {
  const emulator = await Emulator.start(test);
  const receiver = await Receiver.start(test, emulator);
  const authority = new URL(receiver.url).host;
  const config = {
    credentials: { type: "metadata" },
    audiences: [
      { authority, audience: AUDIENCE },
      { authority: "*.invalid", audience: AUDIENCE },
    ],
    prefetch: false,
    ...(typeof changes === "function" ? changes({ emulator }) : changes),
  };
  const environment = { ...emulator.environment, INVOKER_CONFIG: JSON.stringify(config) };
  const host = await Host.wasmtime(test, environment, application, CLIENT);
  const call = (options = {}) =>
    host.call({ ...options, headers: { "x-upstream": authority, "x-scheme": "http", ...options.headers } });
  return { emulator, receiver, authority, host, call };
}

test("an application's request arrives with a token that the receiver takes", async (t) => {
  const { emulator, receiver, host, call } = await setUp(t);
  const { status, text } = await call({ path: "/users/1?a=b", headers: { "x-mine": "1", authorization: "Bearer forged" } });
  assert.equal(status, 200, text);
  const arrived = JSON.parse(text);
  assert.deepEqual([arrived.path, arrived.headers["x-mine"]], ["/users/1?a=b", "1"]);
  assert.equal((await receiver.verified(bearer(arrived), AUDIENCE)).email, ACCOUNT);
  // The instance keeps what it has.
  assert.equal((await call()).status, 200);
  assert.equal((await emulator.callsFor(AUDIENCE)).length, 1);
  assert.ok(!host.log.includes(bearer(arrived)), host.log);
});

test("concurrent requests of an instance make one fetch", async (t) => {
  const { emulator, receiver, call } = await setUp(t);
  await emulator.fault({ path: "/computeMetadata/*", delay: "500ms" });
  const answers = await Promise.all(Array.from({ length: 16 }, () => call()));
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  for (const { text } of answers) await receiver.verified(bearer(JSON.parse(text)), AUDIENCE);
  const { length } = await emulator.callsFor(AUDIENCE);
  assert.ok(length < 16 && length >= 1, String(length));
});

test("a request that no rule covers goes on as it is", async (t) => {
  const { emulator, call } = await setUp(t, { audiences: [{ authority: "*.invalid", audience: AUDIENCE }] });
  const { status, text } = await call({ headers: { authorization: "Basic mine" } });
  assert.equal(status, 200, text);
  assert.equal(JSON.parse(text).headers.authorization, "Basic mine");
  assert.equal((await emulator.callsFor(AUDIENCE)).length, 0);
});

test("50 MB go up and down as they are, in 8 MiB of memory", async (t) => {
  const { receiver, host, authority, call } = await setUp(t);
  const chunk = randomBytes(1 << 20);
  const expected = createHash("sha256");
  for (let at = 0; at < 50; at++) expected.update(chunk);
  const sha256 = expected.digest("hex");
  function* chunks() {
    for (let at = 0; at < 50; at++) yield chunk;
  }
  receiver.routes["/down"] = (_, response) => Readable.from(chunks()).pipe(response);
  const up = JSON.parse((await call({ method: "POST", body: Readable.from(chunks()) })).text);
  assert.deepEqual([up.length, up.sha256], [50 << 20, sha256]);
  const found = createHash("sha256");
  await new Promise((resolve, reject) => {
    const headers = { "x-upstream": authority, "x-scheme": "http" };
    request({ host: "127.0.0.1", port: host.port, path: "/down", headers }, (response) => {
      response.on("data", (part) => found.update(part)).on("end", resolve).on("error", reject);
    }).end();
  });
  assert.equal(found.digest("hex"), sha256);
});

test("an answer begins while the request's body is still on its way, and ends with its trailers", async (t) => {
  const { receiver, host, authority } = await setUp(t);
  receiver.routes["/echo"] = (incoming, response) => {
    response.writeHead(200, { trailer: "x-sum" });
    incoming.on("data", (part) => response.write(part));
    incoming.on("end", () => {
      response.addTrailers({ "x-sum": "42" });
      response.end();
    });
  };
  const trailers = await new Promise((resolve, reject) => {
    const headers = { "x-upstream": authority, "x-scheme": "http", te: "trailers", "transfer-encoding": "chunked" };
    const options = { host: "127.0.0.1", port: host.port, path: "/echo", method: "POST", headers };
    const message = request(options, (response) => {
      response.once("data", (first) => {
        assert.equal(String(first), "first");
        response.once("data", (last) => assert.equal(String(last), "last"));
        response.once("end", () => resolve(response.trailers));
        message.end("last");
      });
    });
    message.on("error", reject);
    message.write("first");
  });
  assert.deepEqual({ ...trailers }, { "x-sum": "42" });
});

for (const [fault, code] of [
  [{ status: 500 }, /server_error|timeout/],
  [{ status: 403 }, /refused/],
  [{ body: "<html>" }, /malformed_answer/],
  [{ body_size: 100_000 }, /malformed_answer/],
  [{ hang: true }, /timeout/],
  [{ close: true }, /callout_unreachable|timeout/],
  [{ token: { lifetime: "-5m" } }, /expired_token|timeout/],
]) {
  test(`nothing goes out while the metadata server is ill: ${JSON.stringify(fault)}`, async (t) => {
    const { emulator, receiver, host, call } = await setUp(t, { timeout: "1s" });
    await emulator.fault({ path: "/computeMetadata/*", ...fault });
    const denied = await call();
    assert.equal(denied.status, 599, denied.text);
    assert.match(denied.text, /InternalError\(Some\("invoker: /);
    assert.match(denied.text, code);
    assert.deepEqual(receiver.arrived, []);
    await emulator.heal();
    const deadline = Date.now() + 30_000;
    while ((await call()).status !== 200) assert.ok(Date.now() < deadline, host.log);
  });
}

test("clients that leave while the token is fetched take nothing from those who stay", async (t) => {
  const { emulator, receiver, host, authority, call } = await setUp(t);
  await emulator.fault({ path: "/computeMetadata/*", delay: "1s" });
  // The first call's task carries the fetch.
  const headers = { "x-upstream": authority, "x-scheme": "http" };
  const leaving = request({ host: "127.0.0.1", port: host.port, headers }).on("error", () => {});
  leaving.end();
  const deadline = Date.now() + 30_000;
  while ((await emulator.callsFor(AUDIENCE)).length === 0) assert.ok(Date.now() < deadline, host.log);
  const staying = call();
  leaving.destroy();
  const { status, text } = await staying;
  assert.equal(status, 200, text);
  await receiver.verified(bearer(JSON.parse(text)), AUDIENCE);
});

test("in the clear to a host beyond loopback no token goes", async (t) => {
  const { emulator, receiver, call } = await setUp(t);
  const { status, text } = await call({ headers: { "x-upstream": "profiles.invalid" } });
  assert.equal(status, 599);
  assert.match(text, /invoker: .*insecure_url|insecure/);
  assert.equal((await emulator.callsFor(AUDIENCE)).length, 0);
  assert.deepEqual(receiver.arrived, []);
});

test("a request without a scheme goes over TLS", async (t) => {
  const { receiver, call } = await setUp(t);
  const { status, text } = await call({ headers: { "x-scheme": "" } });
  assert.equal(status, 599, text);
  assert.doesNotMatch(text, /invoker/);
  assert.deepEqual(receiver.arrived, []);
});

test("a GET has no body when it arrives", async (t) => {
  const { call } = await setUp(t);
  const { status, text } = await call();
  assert.equal(status, 200, text);
  const { headers, length } = JSON.parse(text);
  assert.equal(length, 0);
  assert.equal(headers["transfer-encoding"], undefined);
});

test("a key gets tokens outside of Google Cloud", async (t) => {
  const { receiver, call } = await setUp(t, ({ emulator }) => ({
    credentials: { type: "service_account_key", key: emulator.file("key") },
  }));
  const { status, text } = await call();
  assert.equal(status, 200, text);
  assert.equal((await receiver.verified(bearer(JSON.parse(text)), AUDIENCE)).email, ACCOUNT);
});

test("a configuration that is wrong says what is wrong, where the operator looks", async (t) => {
  const { host, call, receiver } = await setUp(t, { credentials: { type: "metadata", cluster: "metadata" } });
  const { status, text } = await call();
  assert.deepEqual([status, text], [599, "ErrorCode::ConfigurationError"]);
  await host.logged(/INVOKER_CONFIG: credentials\.cluster: "metadata" names an Envoy cluster/);
  assert.deepEqual(receiver.arrived, []);
});

test("a component asks for the token itself, without a rule", async (t) => {
  const { emulator, receiver, host } = await setUp(t, { audiences: [], timeout: "1s" }, TELLER);
  const ask = (audience) => host.call({ headers: { "x-audience": audience } });
  const { status, text } = await ask(AUDIENCE);
  assert.equal(status, 200, text);
  assert.equal((await receiver.verified(text, AUDIENCE)).email, ACCOUNT);
  assert.equal((await ask(AUDIENCE)).text, text);
  assert.equal((await emulator.callsFor(AUDIENCE)).length, 1);
  assert.match((await ask("")).text, /^invalid_audience \(permanent\): /);
  await emulator.fault({ path: "/computeMetadata/*", status: 500 });
  assert.match((await ask("https://other.example.com")).text, /^(server_error|timeout) \(temporary\): /);
  await emulator.fault({ path: "/computeMetadata/*", status: 403 });
  assert.match((await ask("https://third.example.com")).text, /^refused \(permanent\): /);
});
