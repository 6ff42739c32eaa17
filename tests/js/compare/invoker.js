// Tokens by the package, as a program gets them.

import { Invoker } from "invoker";

export function makeAsk(audience) {
  const invoker = new Invoker({ credentials: { type: "metadata" } });
  return () => invoker.idToken(audience);
}
