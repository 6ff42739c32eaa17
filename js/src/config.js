// The configuration as a program writes it: a plain object, with a function where JSON has none.

import { ConfigError } from "./errors.js";

/** Takes the function out: `{json, subjectToken}`. */
export function read(config) {
  const { credentials, subjectToken } = withoutFunction(config?.credentials);
  const plain = subjectToken ? { ...config, credentials } : config;
  return { json: toJson(plain), subjectToken };
}

function toJson(plain) {
  try {
    return JSON.stringify(plain, refusingFunctions) ?? "";
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    // A circle, or a BigInt. The engine's own words can be of several lines.
    const [reason] = String(error?.message ?? error).split("\n");
    throw new ConfigError([{ path: "", problem: `can't be written as JSON: ${reason}` }]);
  }
}

/** The credentials, or the source of an impersonation, say in its place that the program is to be asked. */
function withoutFunction(credentials) {
  if (typeof credentials?.subjectToken === "function") {
    const { subjectToken, ...others } = credentials;
    return { subjectToken, credentials: { ...others, subject_token: "program" } };
  }
  if (typeof credentials?.source?.subjectToken === "function") {
    const { subjectToken, credentials: source } = withoutFunction(credentials.source);
    return { subjectToken, credentials: { ...credentials, source } };
  }
  return { credentials };
}

/** JSON would drop them without a word. */
function refusingFunctions(key, value) {
  if (typeof value !== "function") return value;
  throw new ConfigError([
    { path: key, problem: "is a function, and only `subjectToken` in federation credentials can be one" },
  ]);
}
