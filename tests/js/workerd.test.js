// What a Worker sees that calls through the package, on Cloudflare's workerd.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ACCOUNT, Emulator } from "./support/emulator.js";
import { bearer, Receiver } from "./support/receiver.js";
import { startWorkerd } from "./support/workerd.js";

const AUDIENCE = "https://profiles.example.com";

async function setUp(test, credentials = () => ({ type: "metadata" }), ...options) {
  const emulator = await Emulator.start(test, ...options);
  const receiver = await Receiver.start(test, emulator);
  const rules = [new URL(receiver.url).host, "profiles.invalid"];
  const worker = await startWorkerd(test, {
    ...emulator.environment,
    AUDIENCE,
    RECEIVER: receiver.url,
    CONFIG: {
      credentials: credentials(emulator),
      audiences: rules.map((authority) => ({ authority, audience: AUDIENCE })),
    },
  });
  const ask = async (path, signal) => {
    const response = await fetch(worker + path, { signal });
    return { status: response.status, text: await response.text() };
  };
  return { emulator, receiver, ask };
}

test("a Worker's request arrives with a token that the receiver takes", async (t) => {
  const { receiver, ask } = await setUp(t);
  const { text } = await ask("/fetch");
  assert.equal((await receiver.verified(bearer(JSON.parse(text)), AUDIENCE)).email, ACCOUNT);
});

test("the calls of one request context make one fetch, and later requests none", async (t) => {
  const { emulator, ask } = await setUp(t);
  assert.equal((await ask("/ten")).text, "1");
  const tokens = await Promise.all(Array.from({ length: 20 }, () => ask("/token")));
  assert.equal(new Set(tokens.map(({ text }) => text)).size, 1);
  assert.equal((await emulator.callsFor(AUDIENCE)).length, 1);
});

test("requests that come while another one fetches fetch themselves, and none hangs", async (t) => {
  const { emulator, receiver, ask } = await setUp(t);
  await emulator.fault({ path: "/computeMetadata/*", delay: "300ms" });
  const answers = await Promise.all(Array.from({ length: 5 }, () => ask("/token")));
  for (const { status, text } of answers) {
    assert.equal(status, 200, text);
    assert.equal((await receiver.verified(text, AUDIENCE)).email, ACCOUNT);
  }
  const calls = (await emulator.callsFor(AUDIENCE)).length;
  assert.ok(calls >= 1 && calls <= 5, `${calls} calls`);
});

test("a request whose client leaves while it fetches takes no other one down", { timeout: 30_000 }, async (t) => {
  const { emulator, ask } = await setUp(t);
  await emulator.fault({ path: "/computeMetadata/*", delay: "1s" });
  const controller = new AbortController();
  const leaving = ask("/token", controller.signal).catch(() => "left");
  while ((await emulator.callsFor(AUDIENCE)).length === 0) await new Promise(setImmediate);
  const staying = ask("/token");
  while ((await emulator.callsFor(AUDIENCE)).length === 1) await new Promise(setImmediate);
  controller.abort();
  assert.equal(await leaving, "left");
  assert.equal((await staying).status, 200);
});

test("an Invoker that one request closes is closed for all", { timeout: 30_000 }, async (t) => {
  const { emulator, ask } = await setUp(t);
  await emulator.fault({ path: "/computeMetadata/*", delay: "1s" });
  const waiting = ask("/token");
  while ((await emulator.callsFor(AUDIENCE)).length === 0) await new Promise(setImmediate);
  assert.equal((await ask("/close")).text, "closed");
  for (const { status, text } of [await waiting, await ask("/token"), await ask("/fetch")]) {
    assert.equal(status, 500, text);
    assert.equal(JSON.parse(text).code, "closed");
  }
  assert.equal((await emulator.callsFor(AUDIENCE)).length, 1);
});

test("a closed Invoker gives away no token that it still has", async (t) => {
  const { receiver, ask } = await setUp(t);
  assert.equal((await ask("/fetch")).status, 200);
  assert.equal((await ask("/close")).text, "closed");
  for (const { text } of [await ask("/fetch"), await ask("/token")]) {
    assert.equal(JSON.parse(text).code, "closed");
  }
  assert.equal(receiver.arrived.length, 1);
});

test("a refresh goes on when its request has been answered", async (t) => {
  // Usable for 20 s, and so refreshed after 10.
  const { emulator, ask } = await setUp(t, undefined, "--token-lifetime", "50s");
  const { text: first } = await ask("/refreshed");
  const deadline = Date.now() + 30_000;
  for (;;) {
    const { status, text } = await ask("/refreshed");
    assert.equal(status, 200, text);
    if (text !== first) break;
    assert.ok(Date.now() < deadline, "the token was not refreshed");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal((await emulator.callsFor(AUDIENCE)).length, 2);
  assert.equal((await ask("/kept")).text, "2");
});

for (const [kind, credentials] of Object.entries({
  "a key": (emulator) => ({ type: "service_account_key", key: emulator.file("key") }),
  "a subject token of the Worker's own": (emulator) => ({
    type: "federation",
    config: { ...emulator.file("external-account"), credential_source: undefined },
  }),
})) {
  test(`${kind} gets tokens on workerd`, async (t) => {
    const { receiver, ask } = await setUp(t, credentials);
    const { status, text } = await ask("/token");
    assert.equal(status, 200, text);
    assert.equal((await receiver.verified(text, AUDIENCE)).email, ACCOUNT);
  });
}

test("what goes wrong is a typed error", async (t) => {
  const { emulator, receiver, ask } = await setUp(t);
  const insecure = await ask("/insecure");
  assert.deepEqual([insecure.status, JSON.parse(insecure.text).code], [500, "insecure_url"]);
  assert.match(JSON.parse((await ask("/config")).text)[0].path, /credentials\.cluster/);
  await emulator.fault({ path: "/computeMetadata/*", status: 403 });
  const refused = await ask("/fetch");
  assert.deepEqual([refused.status, JSON.parse(refused.text).code], [500, "refused"]);
  assert.deepEqual(receiver.arrived, []);
});
