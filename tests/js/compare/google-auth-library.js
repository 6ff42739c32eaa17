// Tokens by Google's own library, as its README gets them.

import { GoogleAuth } from "google-auth-library";

export function makeAsk(audience) {
  const auth = new GoogleAuth();
  let client;
  return async () => {
    client ??= auth.getIdTokenClient(audience);
    return (await (await client).getRequestHeaders()).get("authorization").slice("Bearer ".length);
  };
}
