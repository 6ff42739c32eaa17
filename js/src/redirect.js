// Redirects, a hop at a time: each is a request of its own to the rules, so that no token goes where none is
// meant for. What a hop carries is what the Fetch standard says (HTTP-redirect fetch).

const STATUSES = [301, 302, 303, 307, 308];

/** As many as fetch follows. */
export const MAX_REDIRECTS = 20;

/** Headers that speak of a body, and go with it. */
const OF_THE_BODY = ["content-encoding", "content-language", "content-location", "content-type", "content-length"];

/** Headers that are for one origin only. */
const OF_THE_ORIGIN = ["authorization", "proxy-authorization", "cookie", "host"];

/**
 * The next hop, or nothing where this answer is the last one. `hop` is `{url, method, headers, body}`; where it is
 * only asked whether there is one, it need not be one that can be sent.
 */
export function next(hop, response, isSent) {
  const location = STATUSES.includes(response.status) && response.headers.get("location");
  if (!location) return undefined;
  const url = new URL(location, hop.url);
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw new TypeError(`a redirect to ${url.protocol} can't be followed`);
  }
  if (!url.hash) url.hash = hop.url.hash;
  const headers = new Headers(hop.headers);
  let { method, body } = hop;
  const turnsToGet =
    response.status === 303
      ? method !== "GET" && method !== "HEAD"
      : response.status < 303 && method === "POST";
  if (turnsToGet) {
    method = "GET";
    body = undefined;
    for (const name of OF_THE_BODY) headers.delete(name);
  } else if (isSent && body instanceof ReadableStream) {
    throw new TypeError("a body that is a stream can't be sent again after a redirect");
  }
  if (url.origin !== hop.url.origin) {
    for (const name of OF_THE_ORIGIN) headers.delete(name);
  }
  return { url, method, headers, body };
}
