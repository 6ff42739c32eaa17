// The proxy with its host's stores, in Wasmtime: settings of wasi:config, and tokens in wasi:keyvalue.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ACCOUNT, Emulator } from "../js/support/emulator.js";
import { bearer, Receiver } from "../js/support/receiver.js";
import { Host } from "./support/host.js";

const AUDIENCE = "https://profiles.example.com";
const INSTANCES = 5;

async function setUp(test, settings) {
  const emulator = await Emulator.start(test);
  const receiver = await Receiver.start(test, emulator);
  const authority = new URL(receiver.url).host;
  const config = { credentials: { type: "metadata" }, audiences: [{ authority, audience: AUDIENCE }], prefetch: false };
  const all = { invoker_config: JSON.stringify(config), ...settings };
  const flags = Object.entries(all).flatMap(([key, value]) => ["--config", `${key}=${value}`]);
  const environment = { ...emulator.environment, INVOKER_CONFIG: "this is not looked at" };
  const host = await Host.wasmtime(test, environment, ...flags, process.env.EGRESS_HOSTED);
  const call = (path = "/") => host.call({ path, headers: { host: authority } });

  /** Has requests wait for each other at the receiver, so that each needs an instance of its own. */
  async function callAtOnce(number) {
    const waiting = [];
    receiver.routes["/together"] = (_, response) => {
      waiting.push(response);
      if (waiting.length === number) for (const each of waiting) each.end("together");
    };
    const answers = await Promise.all(Array.from({ length: number }, () => call("/together")));
    assert.deepEqual(answers.map(({ status }) => status), Array(number).fill(200));
  }

  return { emulator, receiver, host, call, callAtOnce };
}

test("settings come from the host, before the environment", async (t) => {
  const { receiver, call } = await setUp(t);
  const { status, text } = await call();
  assert.equal(status, 200, text);
  assert.equal((await receiver.verified(bearer(JSON.parse(text)), AUDIENCE)).email, ACCOUNT);
});

test("instances find each other's tokens in the bucket", async (t) => {
  const { emulator, call, callAtOnce, host } = await setUp(t, { invoker_bucket: "tokens" });
  const { text } = await call();
  await callAtOnce(INSTANCES);
  assert.equal((await emulator.callsFor(AUDIENCE)).length, 1);
  assert.ok(!host.log.includes(bearer(JSON.parse(text))), host.log);
});

test("without a bucket each instance has its own tokens", async (t) => {
  const { emulator, call, callAtOnce } = await setUp(t);
  await call();
  await callAtOnce(INSTANCES);
  assert.equal((await emulator.callsFor(AUDIENCE)).length, INSTANCES);
});

for (const [bucket, reason] of [
  ["broken", /it is broken/],
  ["missing", /INVOKER_BUCKET must be/],
  ["", /INVOKER_BUCKET must be/],
]) {
  test(`a bucket that can't be used costs fetches and no request: ${JSON.stringify(bucket)}`, async (t) => {
    const { emulator, call, callAtOnce, host } = await setUp(t, { invoker_bucket: bucket });
    await call();
    await callAtOnce(INSTANCES);
    assert.equal((await emulator.callsFor(AUDIENCE)).length, INSTANCES);
    const lines = await host.logged(/^invoker: warning: store_failed: /, INSTANCES);
    assert.equal(lines.length, INSTANCES, host.log);
    assert.match(lines[0], reason);
  });
}
