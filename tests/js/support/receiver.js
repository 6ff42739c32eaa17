// A service that says what arrived: who called, if the token's signature and audience are right.

import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { OAuth2Client } from "google-auth-library";

export class Receiver {
  /** Ends with the test. It takes tokens that this emulator signed. */
  static async start(test, emulator) {
    const certificates = { endpoints: { oauth2FederatedSignonPemCertsUrl: `${emulator.url}/oauth2/v1/certs` } };
    const receiver = new Receiver(new OAuth2Client(certificates));
    await new Promise((resolve) => receiver.server.listen(0, "127.0.0.1", resolve));
    receiver.url = `http://127.0.0.1:${receiver.server.address().port}`;
    test.after(() => {
      receiver.server.closeAllConnections();
      receiver.server.close();
    });
    return receiver;
  }

  /** Every request that arrived: `{method, path, headers}`. */
  arrived = [];
  /** What a path answers instead: `(request, response) => void`. */
  routes = {};

  constructor(verifier) {
    this.verifier = verifier;
    this.server = createServer((request, response) => this.#answer(request, response));
  }

  /** What a token says, if it is good for this audience. */
  async verified(idToken, audience) {
    return (await this.verifier.verifyIdToken({ idToken, audience })).getPayload();
  }

  async #answer(request, response) {
    const { method, url: path, headers } = request;
    this.arrived.push({ method, path, headers });
    const route = this.routes[path];
    if (route) return route(request, response);
    const body = createHash("sha256");
    let length = 0;
    for await (const chunk of request) {
      body.update(chunk);
      length += chunk.length;
    }
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ method, path, headers, length, sha256: body.digest("hex") }));
  }
}

/** The token in an answer of the receiver's. */
export function bearer(answer) {
  const [scheme, token] = (answer.headers.authorization ?? "").split(" ");
  return scheme === "Bearer" ? token : undefined;
}
