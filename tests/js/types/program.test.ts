// A program in TypeScript: it is checked, and then it runs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigError, Invoker, InvokerError, type Config, type Event } from "invoker";
// @ts-expect-error: plain JavaScript, which needs no types here
import { Emulator } from "../../support/emulator.js";

test("a program in TypeScript gets a token, and typed errors", async (t) => {
  const emulator = await Emulator.start(t);
  const events: Event[] = [];
  const config: Config = {
    credentials: {
      type: "federation",
      config: emulator.file("external-account"),
      subjectToken: async (): Promise<string> => "a.subject.token",
    },
    audiences: [{ authority: "*.a.run.app", audience: "https://{authority}" }],
  };
  const invoker = new Invoker(config, { onEvent: (event) => events.push(event) });
  const token: string = await invoker.idToken("https://profiles.example.com", { signal: AbortSignal.timeout(10_000) });
  assert.equal(token.split(".").length, 3);
  assert.ok(events.every(({ message }) => !message.includes(token)));
  const refused: unknown = await invoker.fetch(new URL("http://x.a.run.app/")).catch((error: unknown) => error);
  assert.ok(refused instanceof InvokerError);
  const code: string = refused.code;
  assert.equal(code, "insecure_url");
  invoker.close();
  // @ts-expect-error: no such kind
  assert.throws(() => new Invoker({ credentials: { type: "magic" } }), ConfigError);
});
