import { Engine } from "./engine.js";
import { MAX_REDIRECTS, next } from "./redirect.js";

export class Invoker {
  #engine;

  constructor(config, options) {
    this.#engine = config instanceof Engine ? config : Engine.start(config, options);
  }

  withContext(context) {
    return new Invoker(this.#engine.inContext(context));
  }

  async fetch(input, init) {
    const engine = this.#engine.inContext();
    const request = new Request(input, init);
    const follows = request.redirect === "follow";
    let hop = {
      url: new URL(request.url),
      method: request.method,
      headers: request.headers,
      // What was given, since what a Request makes of it can be sent only once.
      body: init?.body ?? request.body ?? undefined,
    };
    for (let hops = 0; ; hops++) {
      const headers = new Headers(hop.headers);
      await engine.authorize(hop.url, headers, request.signal);
      const response = await fetch(...arguments_(request, hop, headers, init, hops === 0));
      const following = request.redirect === "manual" ? undefined : next(hop, response, follows);
      if (!following) return response;
      await response.body?.cancel();
      if (!follows) throw new TypeError('a redirect, where `redirect` is "error"');
      if (hops === MAX_REDIRECTS) throw new TypeError(`more than ${MAX_REDIRECTS} redirects`);
      hop = following;
    }
  }

  async idToken(audience, { signal } = {}) {
    return this.#engine.inContext().idToken(String(audience), signal);
  }

  async accessToken(scopes, { signal } = {}) {
    return this.#engine.inContext().accessToken([scopes].flat().map(String), signal);
  }

  close() {
    this.#engine.close();
  }
}

/** A hop, as the host's own `fetch` takes it. */
function arguments_(request, hop, headers, init, isFirst) {
  const { signal } = request;
  // The first one keeps all that the caller's own request says.
  if (isFirst) return [new Request(request, { headers, redirect: "manual" }), ownOf(init)];
  const { url, method, body } = hop;
  return [url, { ...init, method, headers, body, signal, redirect: "manual" }];
}

/** What only a host's own `fetch` knows, and a Request doesn't carry. */
function ownOf(init) {
  return init?.dispatcher ? { dispatcher: init.dispatcher } : undefined;
}
