// What the core wants done outside: exchanges with token servers, signatures, subject tokens.

/** A token is at most 8 KiB; the core refuses more than this. */
const MAX_RESPONSE_BYTES = 64 * 1024;

/** Why there is no answer, in the core's words. */
class NoAnswer extends Error {
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

/** Sends a callout. Never rejects: it resolves with `{status, headers, body}` or `{reason}`. */
export async function send(callout, metadataHost) {
  const url = new URL(callout.url);
  // It is asked in the clear, wherever it is: it is in the machine itself.
  if (metadataHost) url.host = metadataHost;
  try {
    const response = await fetch(url, {
      method: callout.method,
      headers: pairs(callout.headers),
      body: callout.method === "GET" ? undefined : callout.body,
      // A redirect would carry a credential to somebody whom the core does not know.
      redirect: "manual",
      signal: AbortSignal.timeout(callout.timeout),
    });
    return {
      status: response.status,
      headers: [...response.headers].flat(),
      body: await read(response),
    };
  } catch (error) {
    return { reason: reasonOf(error) };
  }
}

/** Asks the program for a subject token. Never rejects. */
export async function ask(subjectToken, timeout) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new NoAnswer("timeout")), timeout);
  });
  try {
    const token = await Promise.race([subjectToken(), late]);
    if (typeof token !== "string" || token === "") throw new NoAnswer("not_given");
    return { status: 200, headers: [], body: new TextEncoder().encode(token) };
  } catch (error) {
    // The program's own error could hold anything.
    return { reason: error instanceof NoAnswer ? error.reason : "not_given" };
  } finally {
    clearTimeout(timer);
  }
}

/** Signs with RS256. Resolves with nothing where the key can't. */
export async function sign(key, text) {
  try {
    const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
    const imported = await crypto.subtle.importKey("pkcs8", key, algorithm, false, ["sign"]);
    return new Uint8Array(await crypto.subtle.sign(algorithm, imported, text));
  } catch {
    return new Uint8Array();
  } finally {
    key.fill(0);
  }
}

async function read(response) {
  const chunks = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    // Leaving the loop cancels the rest.
    if (length > MAX_RESPONSE_BYTES) throw new NoAnswer("too_large");
    chunks.push(chunk);
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}

function reasonOf(error) {
  if (error instanceof NoAnswer) return error.reason;
  return error?.name === "TimeoutError" ? "timeout" : "unreachable";
}

function pairs(flat) {
  const headers = [];
  for (let at = 0; at < flat.length; at += 2) headers.push([flat[at], flat[at + 1]]);
  return headers;
}
