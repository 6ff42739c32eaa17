// What a program sees that calls through the package: on Node.js and on Deno.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { ConfigError, Invoker, InvokerError } from "invoker";
import { ACCOUNT, Emulator } from "./support/emulator.js";
import { bearer, Receiver } from "./support/receiver.js";

const AUDIENCE = "https://profiles.example.com";

/** An Invoker for one receiver, with the metadata server's credentials unless others are given. */
async function setUp(test, changes = {}, options = {}) {
  const emulator = await Emulator.start(test);
  const receiver = await Receiver.start(test, emulator);
  const config = {
    credentials: { type: "metadata" },
    audiences: [{ authority: new URL(receiver.url).host.replace("127.0.0.1", "localhost"), audience: AUDIENCE }],
    prefetch: false,
    ...(typeof changes === "function" ? changes({ emulator, receiver }) : changes),
  };
  receiver.url = receiver.url.replace("127.0.0.1", "localhost");
  const invoker = new Invoker(config, { environment: emulator.environment, ...options });
  test.after(() => invoker.close());
  return { emulator, receiver, invoker };
}

test("a request that a rule covers arrives with a token that the receiver takes", async (t) => {
  const { receiver, invoker } = await setUp(t);
  const answer = await (await invoker.fetch(`${receiver.url}/users/1?a=b`)).json();
  assert.equal(answer.path, "/users/1?a=b");
  assert.equal((await receiver.verified(bearer(answer), AUDIENCE)).email, ACCOUNT);
});

test("a request that no rule covers is left alone", async (t) => {
  const { emulator, receiver, invoker } = await setUp(t);
  const elsewhere = receiver.url.replace("localhost", "127.0.0.1");
  const answer = await (await invoker.fetch(elsewhere, { headers: { authorization: "mine" } })).json();
  assert.equal(answer.headers.authorization, "mine");
  assert.deepEqual(await emulator.callsFor(AUDIENCE), []);
});

test("a hundred concurrent calls make one fetch, and the next ones none", async (t) => {
  const { emulator, receiver, invoker } = await setUp(t);
  const call = async () => (await invoker.fetch(receiver.url)).json();
  const answers = await Promise.all(Array.from({ length: 100 }, call));
  assert.equal(new Set(answers.map(bearer)).size, 1);
  assert.ok(bearer(await call()));
  assert.equal((await emulator.callsFor(AUDIENCE)).length, 1);
});

test("a token itself can be asked for, and is the one that requests get", async (t) => {
  const { emulator, receiver, invoker } = await setUp(t);
  const token = await invoker.idToken(AUDIENCE);
  assert.equal((await receiver.verified(token, AUDIENCE)).email, ACCOUNT);
  assert.equal(bearer(await (await invoker.fetch(receiver.url)).json()), token);
  assert.equal((await emulator.callsFor(AUDIENCE)).length, 1);
});

test("no rule is needed to ask for tokens", async (t) => {
  const { receiver, invoker } = await setUp(t, { audiences: undefined });
  const token = await invoker.idToken("https://a.example.com");
  assert.equal((await receiver.verified(token, "https://a.example.com")).email, ACCOUNT);
});

test("an access token can be asked for by its scopes", async (t) => {
  const { invoker } = await setUp(t);
  const token = await invoker.accessToken("https://www.googleapis.com/auth/cloud-platform");
  assert.equal(await invoker.accessToken(["https://www.googleapis.com/auth/cloud-platform"]), token);
  await assert.rejects(invoker.accessToken("a b"), ConfigError);
});

test("what a Request says is kept", async (t) => {
  const { receiver, invoker } = await setUp(t);
  const request = new Request(`${receiver.url}/x`, { method: "PUT", body: "hello", headers: { "x-mine": "1" } });
  const answer = await (await invoker.fetch(request, { headers: { "x-mine": "2" } })).json();
  assert.deepEqual([answer.method, answer.length, answer.headers["x-mine"]], ["PUT", 5, "2"]);
  assert.ok(bearer(answer));
});

test("50 MB go up and down as they are", async (t) => {
  const { receiver, invoker } = await setUp(t);
  const chunk = randomBytes(1 << 20);
  const chunks = 50;
  const expected = createHash("sha256");
  for (let at = 0; at < chunks; at++) expected.update(chunk);
  const sha256 = expected.digest("hex");
  receiver.routes["/down"] = async (_, response) => {
    for (let at = 0; at < chunks; at++) {
      if (!response.write(chunk)) await new Promise((resolve) => response.once("drain", resolve));
    }
    response.end();
  };
  let left = chunks;
  const body = new ReadableStream({
    pull: (controller) => (left-- > 0 ? controller.enqueue(chunk) : controller.close()),
  });
  const up = await (await invoker.fetch(`${receiver.url}/up`, { method: "POST", body, duplex: "half" })).json();
  assert.deepEqual([up.length, up.sha256], [chunks << 20, sha256]);
  const found = createHash("sha256");
  for await (const part of (await invoker.fetch(`${receiver.url}/down`)).body) found.update(part);
  assert.equal(found.digest("hex"), sha256);
});

test("a body arrives while it is still being sent", async (t) => {
  const { receiver, invoker } = await setUp(t);
  let finish;
  receiver.routes["/slow"] = (_, response) => {
    response.write("first");
    finish = () => response.end("last");
  };
  const response = await invoker.fetch(`${receiver.url}/slow`);
  const reader = response.body.getReader();
  assert.equal(new TextDecoder().decode((await reader.read()).value), "first");
  finish();
  assert.equal(new TextDecoder().decode((await reader.read()).value), "last");
});

test("a redirect takes no token to where no rule sends one", async (t) => {
  const { receiver, invoker } = await setUp(t);
  const elsewhere = receiver.url.replace("localhost", "127.0.0.1");
  receiver.routes["/away"] = (_, response) => response.writeHead(302, { location: `${elsewhere}/there` }).end();
  const answer = await (await invoker.fetch(`${receiver.url}/away`)).json();
  assert.equal(answer.path, "/there");
  assert.equal(answer.headers.authorization, undefined);
  assert.ok(receiver.arrived[0].headers.authorization);
});

test("a redirect to where a rule sends a token takes one along", async (t) => {
  const { receiver, invoker } = await setUp(t);
  receiver.routes["/here"] = (_, response) => response.writeHead(307, { location: "/there" }).end();
  const answer = await (await invoker.fetch(`${receiver.url}/here`, { method: "POST", body: "hello" })).json();
  assert.deepEqual([answer.method, answer.path, answer.length], ["POST", "/there", 5]);
  assert.ok(bearer(answer));
});

test("redirects follow the Fetch standard", async (t) => {
  const { receiver, invoker } = await setUp(t);
  receiver.routes["/see-other"] = (_, response) => response.writeHead(303, { location: "/there" }).end();
  receiver.routes["/for-ever"] = (_, response) => response.writeHead(302, { location: "/for-ever" }).end();
  receiver.routes["/again"] = (_, response) => response.writeHead(308, { location: "/there" }).end();
  const post = { method: "POST", body: "hello" };
  const answer = await (await invoker.fetch(`${receiver.url}/see-other`, post)).json();
  assert.deepEqual([answer.method, answer.length, answer.headers["content-type"]], ["GET", 0, undefined]);
  await assert.rejects(invoker.fetch(`${receiver.url}/for-ever`), TypeError);
  await assert.rejects(invoker.fetch(`${receiver.url}/for-ever`, { redirect: "error" }), TypeError);
  const manual = await invoker.fetch(`${receiver.url}/for-ever`, { redirect: "manual" });
  assert.equal(manual.status, 302);
  await manual.body?.cancel();
  const stream = { method: "POST", body: new Blob(["hello"]).stream(), duplex: "half" };
  await assert.rejects(invoker.fetch(`${receiver.url}/again`, stream), /can't be sent again/);
});

test("a token is never sent in the clear, unless that is allowed", async (t) => {
  const rules = { audiences: [{ authority: "profiles.invalid", audience: AUDIENCE }] };
  const { emulator, invoker } = await setUp(t, rules);
  const refused = invoker.fetch("http://profiles.invalid/");
  await assert.rejects(refused, (error) => error instanceof InvokerError && error.code === "insecure_url");
  assert.deepEqual(await emulator.callsFor(AUDIENCE), []);
  const open = new Invoker(
    { credentials: { type: "metadata" }, ...rules, allow_insecure: true },
    { environment: emulator.environment },
  );
  t.after(() => open.close());
  // It gets as far as the name, which nobody has.
  await assert.rejects(open.fetch("http://profiles.invalid/"), (error) => !(error instanceof InvokerError));
});

for (const [fault, code, isTransient] of [
  [{ status: 500 }, "server_error", true],
  [{ status: 403 }, "refused", false],
  [{ body: "<html>" }, "malformed_answer", false],
  [{ body_size: 100_000 }, "malformed_answer", false],
  [{ hang: true }, "timeout", true],
  [{ close: true }, "callout_unreachable", true],
]) {
  test(`a metadata server that is ill is an error that says how: ${JSON.stringify(fault)}`, async (t) => {
    const { emulator, receiver, invoker } = await setUp(t, { timeout: "1s" });
    await emulator.fault({ path: "/computeMetadata/*", ...fault });
    const error = await invoker.fetch(receiver.url).then(assert.fail, (error) => error);
    assert.ok(error instanceof InvokerError, `${error}`);
    assert.deepEqual([error.isTransient, error.status], [isTransient, isTransient ? 503 : 500]);
    assert.ok([code, "timeout", "callout_timeout"].includes(error.code), error.code);
    assert.match(error.message, /metadata server/);
    assert.deepEqual(receiver.arrived, []);
    await emulator.heal();
  });
}

test("a request rides through trouble that passes", async (t) => {
  const { emulator, receiver, invoker } = await setUp(t);
  await emulator.fault({ path: "/computeMetadata/*", status: 503, times: 2 });
  assert.ok(bearer(await (await invoker.fetch(receiver.url)).json()));
});

test("a caller that aborts while it waits is let go at once, with its own reason", async (t) => {
  const { emulator, receiver, invoker } = await setUp(t, { timeout: "1m" });
  await emulator.fault({ path: "/computeMetadata/*", hang: true });
  const controller = new AbortController();
  const waiting = invoker.fetch(receiver.url, { signal: controller.signal });
  const asking = invoker.idToken(AUDIENCE, { signal: controller.signal });
  controller.abort(new Error("enough"));
  await assert.rejects(waiting, /enough|abort/i);
  await assert.rejects(asking, /enough/);
  await assert.rejects(invoker.idToken(AUDIENCE, { signal: controller.signal }), /enough/);
  assert.deepEqual(receiver.arrived, []);
});

test("what onEvent throws is told, and harms no request", async (t) => {
  const told = [];
  const { error } = console;
  console.error = (...args) => told.push(args);
  t.after(() => (console.error = error));
  const thrown = new Error("the program's own");
  const onEvent = () => {
    throw thrown;
  };
  const { receiver, invoker } = await setUp(t, {}, { onEvent });
  assert.ok(bearer(await (await invoker.fetch(receiver.url)).json()));
  assert.ok(bearer(await (await invoker.fetch(receiver.url)).json()));
  assert.deepEqual(told[0]?.at(-1), thrown);
});

test("a configuration that JSON can't hold is refused as any other wrong one", () => {
  const circle = { credentials: { type: "metadata" } };
  circle.audiences = [circle];
  for (const config of [circle, { credentials: { type: "metadata" }, max_waiting_requests: 10n }]) {
    assert.throws(() => new Invoker(config), (error) => {
      assert.ok(error instanceof ConfigError, String(error));
      assert.match(error.message, /^can't be written as JSON: .+$/);
      return true;
    });
  }
});

test("a question for what can't be an audience or a scope is a wrong configuration", async (t) => {
  const { emulator, invoker } = await setUp(t);
  await assert.rejects(invoker.idToken(""), ConfigError);
  await assert.rejects(invoker.accessToken("a b"), ConfigError);
  assert.deepEqual(await emulator.callsFor(""), []);
});

test("a closed Invoker lets go of who waits, and refuses who comes", async (t) => {
  const { emulator, receiver, invoker } = await setUp(t, { timeout: "1m" });
  await emulator.fault({ path: "/computeMetadata/*", hang: true });
  const waiting = assert.rejects(invoker.fetch(receiver.url), { code: "closed" });
  await new Promise(setImmediate);
  invoker.close();
  await waiting;
  await assert.rejects(invoker.idToken(AUDIENCE), { code: "closed" });
});

test("literal audiences are fetched before anybody asks", async (t) => {
  let tell;
  const told = new Promise((resolve) => (tell = resolve));
  const { emulator } = await setUp(t, { prefetch: true }, { onEvent: tell });
  const { level, message } = await told;
  assert.equal(level, "info");
  assert.match(message, new RegExp(`first_token="${AUDIENCE}"|${AUDIENCE}`));
  assert.equal((await emulator.callsFor(AUDIENCE)).length, 1);
});

const kinds = {
  "a key": ({ emulator }) => ({ type: "service_account_key", key: emulator.file("key") }),
  "a key's text": ({ emulator }) => ({ type: "service_account_key", key: JSON.stringify(emulator.file("key")) }),
  federation: ({ emulator }) => ({ type: "federation", config: emulator.file("external-account") }),
  "federation with a token of the program's own": ({ emulator }) => ({
    type: "federation",
    config: { ...emulator.file("external-account"), credential_source: undefined },
    subjectToken: async () => "a.subject.token",
  }),
};

for (const [kind, credentials] of Object.entries(kinds)) {
  test(`${kind} gets tokens outside of Google Cloud`, async (t) => {
    const { receiver, invoker } = await setUp(t, (around) => ({ credentials: credentials(around) }));
    const answer = await (await invoker.fetch(receiver.url)).json();
    assert.equal((await receiver.verified(bearer(answer), AUDIENCE)).email, ACCOUNT);
  });
}

test("impersonation gets the other account's tokens, from IAM", async (t) => {
  const iam = "https://iamcredentials.googleapis.com";
  const { fetch } = globalThis;
  t.after(() => (globalThis.fetch = fetch));
  const { emulator, receiver, invoker } = await setUp(t, {
    credentials: { type: "impersonation", service_account: ACCOUNT, source: { type: "metadata" } },
  });
  // No DNS of a test's leads there.
  globalThis.fetch = (input, init) =>
    fetch(input instanceof URL && input.origin === iam ? new URL(input.pathname, emulator.url) : input, init);
  const answer = await (await invoker.fetch(receiver.url)).json();
  assert.equal((await receiver.verified(bearer(answer), AUDIENCE)).email, ACCOUNT);
  const paths = (await emulator.calls()).map(({ path }) => path);
  assert.ok(paths.some((path) => path.endsWith(`/${ACCOUNT}:generateIdToken`)), paths.join(" "));
});

test("a key can be in the environment", async (t) => {
  const emulator = await Emulator.start(t);
  const environment = { CALLER_KEY: JSON.stringify(emulator.file("key")) };
  const credentials = { type: "service_account_key", key: { env: "CALLER_KEY" } };
  const invoker = new Invoker({ credentials }, { environment });
  t.after(() => invoker.close());
  assert.ok(await invoker.idToken(AUDIENCE));
  assert.throws(() => new Invoker({ credentials }, { environment: {} }), /CALLER_KEY/);
});

test("a program that gives no subject token is an error that doesn't quote it", async (t) => {
  const { receiver, invoker } = await setUp(t, ({ emulator }) => ({
    credentials: {
      type: "federation",
      config: emulator.file("external-account"),
      subjectToken: () => Promise.reject(new Error("hunter2")),
    },
    timeout: "300ms",
  }));
  const error = await invoker.fetch(receiver.url).then(assert.fail, (error) => error);
  assert.equal(error.isTransient, true);
  assert.doesNotMatch(`${error.message}${error.stack}${error.cause}`, /hunter2/);
});

test("a configuration that is wrong says all that is wrong", () => {
  const config = {
    credentials: { type: "metadata", cluster: "metadata" },
    audiences: [{ cluster: "x", audience: "profiles" }],
    audience_from_metadata: true,
  };
  assert.throws(() => new Invoker({ ...config, audiences: [{ authority: "x", audience: "profiles" }] }), {
    name: "ConfigError",
    message: /^audiences\[0\]\.audience: "profiles" is neither a URL nor a client ID/,
  });
  const valid = { ...config, audiences: [{ cluster: "x", audience: "https://profiles" }] };
  assert.throws(() => new Invoker(valid), (error) => {
    assert.ok(error instanceof ConfigError);
    assert.deepEqual(
      error.problems.map(({ path }) => path),
      ["credentials.cluster", "audiences[0].cluster", "audience_from_metadata"],
    );
    return true;
  });
  assert.throws(() => new Invoker({ credentials: { type: "metadata" }, timeout: () => 5 }), ConfigError);
  assert.throws(() => new Invoker(), ConfigError);
});
