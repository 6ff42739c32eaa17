// A Worker that calls through the package; what it was asked for is in the path.

import { ConfigError, Invoker, InvokerError } from "./invoker/entry/workerd.js";

let invoker;

/** How many promises the runtime was asked to wait for. It may finish others too, and need not. */
let kept = 0;

/** Made once in an isolate, as programs do: the configuration is known only here. */
function shared(env) {
  const federation = { ...env.CONFIG.credentials, subjectToken: async () => "a.subject.token" };
  const credentials = env.CONFIG.credentials.type === "federation" ? federation : env.CONFIG.credentials;
  invoker ??= new Invoker({ ...env.CONFIG, credentials }, { environment: env });
  return invoker;
}

const routes = {
  "/token": (invoker, _, { AUDIENCE }) => invoker.idToken(AUDIENCE),
  "/fetch": async (invoker, _, { RECEIVER }) => (await invoker.fetch(RECEIVER)).text(),
  "/insecure": (invoker) => invoker.fetch("http://profiles.invalid/"),
  "/ten": async (invoker, context, { AUDIENCE }) => {
    const scoped = invoker.withContext(context);
    const tokens = await Promise.all(Array.from({ length: 10 }, () => scoped.idToken(AUDIENCE)));
    return String(new Set(tokens).size);
  },
  "/refreshed": (invoker, context, { AUDIENCE }) => {
    const waitUntil = (promise) => {
      kept++;
      context.waitUntil(promise);
    };
    return invoker.withContext({ waitUntil }).idToken(AUDIENCE);
  },
  "/kept": () => String(kept),
  "/close": (invoker) => {
    invoker.close();
    return "closed";
  },
  "/config": () => {
    try {
      new Invoker({ credentials: { type: "metadata", cluster: "metadata" } });
    } catch (error) {
      if (error instanceof ConfigError) return JSON.stringify(error.problems);
      throw error;
    }
  },
};

export default {
  async fetch(request, env, context) {
    try {
      const route = routes[new URL(request.url).pathname];
      return new Response(await route(shared(env), context, env));
    } catch (error) {
      const { name, code, isTransient, message } = error;
      return Response.json({ name, code, isTransient, message }, { status: error instanceof InvokerError ? error.status : 599 });
    }
  },
};
