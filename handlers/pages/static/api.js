// Requests to the server. Paths are relative to the page, so that a proxy can serve everything under a path prefix.

const STORED_KEY = "orders-key";
const TIMEOUT_MS = 30_000; // the server responds within 10 s, even if its database is locked

/** An error response of the server, or status 0 if there is no complete response. */
export class Problem extends Error {
  constructor({ status, title, detail, retryAfterS }) {
    super(detail ? `${title}: ${detail}` : title);
    this.detail = detail ?? title;
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/**
 * Parses JSON without rounding: ids can have more digits than a Number can hold. Each number becomes an object with
 * `rawJSON`, which JSON.stringify writes unchanged.
 */
export const parseExactly = (text) =>
  JSON.parse(text, (_, value, { source }) => (typeof value === "number" ? JSON.rawJSON(source) : value));

/** Whether this browser supports parseExactly. */
export const canParseExactly = typeof JSON.rawJSON === "function";

/** Sends requests, with the API key if `needsKey` is true. The key is stored for this tab only. */
export class Api {
  constructor({ needsKey }) {
    this.needsKey = needsKey;
  }

  get key() {
    return sessionStorage.getItem(STORED_KEY);
  }

  set key(key) {
    if (key === null) sessionStorage.removeItem(STORED_KEY);
    else sessionStorage.setItem(STORED_KEY, key);
  }

  /** Resolves to a 2xx response with an unread body, or throws a Problem. `options.signal` can abort both. */
  async request(path, options) {
    const headers = { Accept: "application/json", ...options.headers };
    if (this.needsKey && this.key) headers.Authorization = `Bearer ${this.key}`;
    let response;
    try {
      response = await fetch(path, { cache: "no-store", credentials: "omit", redirect: "error", ...options, headers });
    } catch (error) {
      if (options.signal.aborted) throw error;
      throw new Problem({ status: 0, title: "The server does not answer." });
    }
    if (response.ok) return response;
    throw await problemOf(response);
  }

  get(path) {
    return this.#exchange(path, { method: "GET" });
  }

  post(path) {
    return this.#exchange(path, { method: "POST" });
  }

  async #exchange(path, options) {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    try {
      return parseExactly(await (await this.request(path, { ...options, signal })).text());
    } catch (error) {
      if (error instanceof Problem) throw error;
      const title = signal.aborted ? "The server did not answer in time." : "The server broke off its answer.";
      throw new Problem({ status: 0, title });
    }
  }
}

async function problemOf(response) {
  const retryAfterS = Number(response.headers.get("Retry-After")) || 0;
  const members = await response.json().catch(() => ({}));
  const detail = members.errors?.map(({ parameter, detail }) => `${parameter} ${detail}`).join("; ") ?? members.detail;
  return new Problem({ title: `Status ${response.status}`, ...members, detail, status: response.status, retryAfterS });
}
