// What is thrown. No message holds a token, a key or what a server said in secret.

/** A request that needs a token, or a question for one, and there is none. */
export class InvokerError extends Error {
  name = "InvokerError";

  constructor({ code, class: kind, status, message }) {
    super(message);
    this.code = code;
    this.isTransient = kind === "transient";
    this.status = status;
  }
}

/** A configuration that can't be used. */
export class ConfigError extends Error {
  name = "ConfigError";

  constructor(problems) {
    super(problems.map(({ path, problem }) => (path ? `${path}: ${problem}` : problem)).join("\n"));
    this.problems = problems;
  }
}

/** Calls the core, whose errors are JSON: a denial, or a list of problems. */
export function rethrowing(call) {
  try {
    return call();
  } catch (error) {
    if (typeof error !== "string") throw error;
    const told = JSON.parse(error);
    throw Array.isArray(told) ? new ConfigError(told) : new InvokerError(told);
  }
}
