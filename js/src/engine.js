// Runs the core: clocks, timers, callouts, and who waits. What any of it means is the core's business.

import { Core } from "../core/core.js";
import { ask, send, sign } from "./callout.js";
import * as configuration from "./config.js";
import { InvokerError, rethrowing } from "./errors.js";

/** A timer beyond this would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

const CLOSED = { code: "closed", class: "permanent", status: 500, message: "this Invoker is closed" };

/** Whether each request context needs a core of its own. */
let isScoping = false;

/** For hosts on which no request may await another one's IO, and no timer runs outside of one. */
export function shareNothingBetweenRequests() {
  isScoping = true;
}

export class Engine {
  #core;
  #host;
  /** Whether it serves one request context, and what keeps that alive beyond its answer. */
  #isContext;
  #waitUntil;
  /** Those that wait, by their numbers: `{resume, fail}`. */
  #waiting = new Map();
  #lastRequest = 0;
  #timer;

  static start(config, options = {}) {
    const { json, subjectToken } = configuration.read(config);
    const environment = { get: (name) => variable(options.environment, name) };
    // Contexts share it: one Invoker is closed for all of them.
    const host = { environment, subjectToken, onEvent: options.onEvent, isClosed: false };
    const core = rethrowing(() => new Core(json, environment, Math.random(), performance.now()));
    return new Engine(core, host, false);
  }

  constructor(core, host, isContext, context) {
    this.#core = core;
    this.#host = host;
    this.#isContext = isContext;
    this.#waitUntil = context && ((promise) => context.waitUntil(promise));
    if (!isScoping) this.#schedule();
  }

  /** The one to ask in this context: itself, where contexts don't matter. */
  inContext(context) {
    if (!isScoping || this.#isContext) return this;
    const core = rethrowing(() => this.#core.scoped(this.#host.environment, Math.random(), performance.now()));
    return new Engine(core, this.#host, true, context);
  }

  /** Writes into `headers` what this URL's requests need, as soon as it is there. */
  authorize(url, headers, signal) {
    return this.#ask(
      signal,
      (id, ...now) => {
        const path = url.pathname + url.search;
        return this.#core.authorize(id, url.protocol === "https:", url.host, path, headers, ...now) || undefined;
      },
      (id) => this.#core.finish(id, headers),
    );
  }

  idToken(audience, signal) {
    return this.#token(signal, (id, ...now) => this.#core.idToken(id, audience, ...now));
  }

  accessToken(scopes, signal) {
    return this.#token(signal, (id, ...now) => this.#core.accessToken(id, scopes, ...now));
  }

  close() {
    this.#host.isClosed = true;
    this.#end();
  }

  #end() {
    clearTimeout(this.#timer);
    for (const { fail } of [...this.#waiting.values()]) fail(new InvokerError(CLOSED));
  }

  #token(signal, begin) {
    return this.#ask(signal, begin, (id) => this.#core.takeToken(id));
  }

  /** `begin` gives nothing where there is something to wait for, and `take` takes it then. */
  async #ask(signal, begin, take) {
    signal?.throwIfAborted();
    if (this.#host.isClosed) throw new InvokerError(CLOSED);
    const id = ++this.#lastRequest;
    try {
      return rethrowing(() => begin(id, ...now())) ?? this.#wait(id, signal, take);
    } finally {
      // Whatever came of it can have set something going, a refresh for one.
      this.#drain();
    }
  }

  #wait(id, signal, take) {
    return new Promise((resolve, reject) => {
      const settle = (outcome) => {
        this.#waiting.delete(id);
        signal?.removeEventListener("abort", abort);
        outcome();
      };
      const fail = (error) =>
        settle(() => {
          this.#core.cancel(id);
          reject(error);
        });
      const resume = () =>
        settle(() => {
          try {
            resolve(rethrowing(() => take(id)));
          } catch (error) {
            reject(error);
          }
        });
      const abort = () => fail(signal.reason);
      signal?.addEventListener("abort", abort);
      this.#waiting.set(id, { resume, fail });
    });
  }

  /** Does what the core asks for. */
  #drain() {
    // Another context can have closed it while something of this one's was under way.
    if (this.#host.isClosed) return this.#end();
    for (let task = this.#core.poll(); task; task = this.#core.poll()) {
      try {
        this.#carryOut(task);
      } finally {
        task.free();
      }
    }
    this.#schedule();
  }

  #carryOut(task) {
    const { kind, id } = task;
    if (kind === "resume") {
      const waiting = this.#waiting.get(id);
      if (waiting) waiting.resume();
      else this.#core.cancel(id);
    } else if (kind === "event") {
      this.#tell({ level: task.level, message: task.message });
    } else if (kind === "sign") {
      this.#keep(sign(task.takeKey(), task.body), (bytes) => this.#core.signed(id, bytes, ...now()));
    } else {
      this.#keep(this.#exchange(task), (answer) => this.#answered(id, answer));
    }
  }

  /** What the program makes of an event is no reason for a request to fail. */
  #tell(event) {
    try {
      this.#host.onEvent?.(event);
    } catch (error) {
      console.error("invoker: onEvent threw:", error);
    }
  }

  #exchange(task) {
    if (task.kind === "program") return ask(this.#host.subjectToken, task.timeout);
    const { url, method, headers, body, timeout, isForMetadataServer } = task;
    const metadataHost = isForMetadataServer && this.#host.environment.get("GCE_METADATA_HOST");
    return send({ url, method, headers, body, timeout }, metadataHost);
  }

  #answered(id, { status, headers, body, reason }) {
    if (reason) this.#core.noAnswer(id, reason, ...now());
    else this.#core.answer(id, status, headers, body, ...now());
  }

  /** Takes to the core what comes of a promise that never rejects. */
  #keep(promise, take) {
    const taken = promise.then((outcome) => {
      take(outcome);
      this.#drain();
    });
    this.#waitUntil?.(taken);
  }

  #schedule() {
    clearTimeout(this.#timer);
    const isAwaited = this.#waiting.size > 0;
    // No timer runs beyond a request's context: what is due then is found by the next one.
    if (this.#isContext && !isAwaited) return;
    const due = this.#core.dueIn(...now());
    if (due === undefined || this.#host.isClosed) return;
    this.#timer = setTimeout(() => {
      this.#core.onTime(...now());
      this.#drain();
    }, Math.min(Math.ceil(due), MAX_TIMER_MS));
    // A program may end while a refresh is all that is due.
    if (!isAwaited) this.#timer.unref?.();
    if (!isAwaited && typeof this.#timer === "number") globalThis.Deno?.unrefTimer(this.#timer);
  }
}

/** Both clocks, as the core's calls end with them: milliseconds. */
function now() {
  return [performance.now(), Date.now()];
}

/** A variable of the environment; unreadable is absent. */
function variable(environment, name) {
  try {
    const value = (environment ?? globalThis.process?.env)?.[name];
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
