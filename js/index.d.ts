/** A configuration: the schema of every host, without what only Envoy knows (`cluster`, `audience_from_metadata`). */
export interface Config {
  credentials: Credentials;
  /** Which requests get a token, and for whom; the first rule that matches wins. */
  audiences?: Rule[];
  /** Where tokens are written. Default: `authorization`. */
  header?: string | string[];
  /** What becomes of a caller's own credential. Default: `replace`. */
  existing_credential?: "replace" | "keep" | "forward" | "alongside";
  /** What becomes of a request that can't have its token. Default: `deny`. */
  failure_mode?: "deny" | "allow";
  /** How long a request may wait for its token, such as `"5s"` (the default). */
  timeout?: string;
  /** How long one callout may take. Default: 80 % of `timeout`. */
  callout_timeout?: string;
  /** How many requests may wait for tokens. Default: 1024. */
  max_waiting_requests?: number;
  /** How long before a token's usable end the next one is fetched. Default: `"5m"`. */
  refresh_margin?: string;
  /** Whether literal audiences are fetched at once. Default: `true`. */
  prefetch?: boolean;
  /** Whether tokens go to `http:` URLs beyond loopback, too. Default: `false`. */
  allow_insecure?: boolean;
}

export type Credentials = DirectCredentials | Impersonation;
export type DirectCredentials = Metadata | ServiceAccountKey | Federation;

/** Google Cloud's metadata server, or the one that `GCE_METADATA_HOST` names. */
export interface Metadata {
  type: "metadata";
  /** `default`, or an email. */
  service_account?: string;
}

/** A file of Google's: its JSON, its text (or base64 of it), or the environment variable that holds it. */
export type CredentialFile = { env: string } | string | Record<string, unknown>;

/** A service account's key. */
export interface ServiceAccountKey {
  type: "service_account_key";
  key: CredentialFile;
}

/** Another account, as whom one of the other kinds may act. */
export interface Impersonation {
  type: "impersonation";
  service_account: string;
  delegates?: string[];
  source: DirectCredentials;
}

/** Another provider's token, exchanged for Google's. */
export interface Federation {
  type: "federation";
  /** The `external_account` JSON that gcloud writes. With `subjectToken` it can't be in an environment variable. */
  config: CredentialFile;
  /** Gives the subject token, in place of the file's `credential_source`. Called once for each exchange. */
  subjectToken?: () => string | Promise<string>;
}

export interface Rule {
  /** Host and port of the URL, with `*` as wildcard. */
  authority?: string;
  /** A prefix of the path that ends at a segment. */
  path?: string;
  /** Whom the ID token is for; `{authority}` and `{path_segment}` come from the request. */
  audience?: string;
  /** The same, taken as it is. */
  custom_audience?: string;
  /** An access token with these scopes instead, for Google's own APIs. */
  scopes?: string[];
  /** These requests are left alone. */
  bypass?: true;
  /** Where this rule's tokens are written. */
  header?: string | string[];
}

/** Something in a token's life. Its message holds no secret. */
export interface Event {
  level: "debug" | "info" | "warn" | "error";
  message: string;
}

export interface Options {
  /** Where the configuration's environment variables are. Default: `process.env`, where there is one. */
  environment?: Record<string, unknown>;
  /** Told of each event in a token's life. What it throws goes to `console.error`, and no further. */
  onEvent?: (event: Event) => void;
}

/** What may outlive an answer: workerd's `ctx`. */
export interface Context {
  waitUntil(promise: Promise<unknown>): void;
}

export interface TokenOptions {
  /** Ends the wait, with its reason. */
  signal?: AbortSignal;
}

export class Invoker {
  /** @throws {ConfigError} */
  constructor(config: Config, options?: Options);

  /**
   * The host's own `fetch`, with a token where a rule says so. Each redirect goes through the rules anew. One that keeps the
   * body (307, 308) can be followed where the body is given in `init` and is no stream: what a `Request` holds can be sent once.
   *
   * @throws {InvokerError} there is no token; nothing was sent.
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;

  /**
   * @throws {InvokerError} there is none.
   * @throws {ConfigError} nobody can be asked for a token for such an audience.
   */
  idToken(audience: string, options?: TokenOptions): Promise<string>;

  /**
   * @throws {InvokerError} there is none.
   * @throws {ConfigError} these are no scopes.
   */
  accessToken(scopes: string | string[], options?: TokenOptions): Promise<string>;

  /**
   * For the calls of one request, where a host keeps requests apart (workerd): they share one fetch, and a refresh
   * goes on in `context.waitUntil`. Elsewhere it changes nothing.
   */
  withContext(context?: Context): Invoker;

  /** Stops refreshing, and fails who waits, and whoever asks from now on: with `closed`. */
  close(): void;
}

/** There is no token. */
export class InvokerError extends Error {
  /** The stable name of the reason, as in the README's table of errors. */
  readonly code: string;
  /** Whether it may pass. */
  readonly isTransient: boolean;
  /** What a proxy would answer: 503, or 500. */
  readonly status: number;
}

/** The configuration can't be used. */
export class ConfigError extends Error {
  readonly problems: { path: string; problem: string }[];
}
