// Asks the server. Paths are relative to the page, so that a proxy may serve all of it below a path of its own.

const STORED_KEY = "orders-key";
const PATIENCE_MS = 30_000; // the server itself answers within 10 s, whatever happens to its database

/** What the server refused, or that it can't be reached (status 0). */
export class Problem extends Error {
  constructor({ status, title, detail, retryAfterS }) {
    super(detail ? `${title}: ${detail}` : title);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/**
 * JSON whose numbers stay as they were written, since ids have more digits than a Number holds: each is an object
 * with `rawJSON`, and JSON.stringify writes it back unchanged.
 */
export const parseExactly = (text) =>
  JSON.parse(text, (_, value, { source }) => (typeof value === "number" ? JSON.rawJSON(source) : value));

/** Whether this browser can do that. */
export const canParseExactly = typeof JSON.rawJSON === "function";

/** Requests with the API key, which is kept for the tab alone. `needsKey` says whether the server asks for one. */
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

  /** The answer to a request, whose body is still to be read; `signal` ends both. Throws a Problem for any but a 2xx. */
  async ask(path, options) {
    const headers = { Accept: "application/json", ...options.headers };
    if (this.needsKey && this.key) headers.Authorization = `Bearer ${this.key}`;
    let answer;
    try {
      answer = await fetch(path, { cache: "no-store", credentials: "omit", redirect: "error", ...options, headers });
    } catch (error) {
      if (options.signal.aborted) throw error;
      throw new Problem({ status: 0, title: "The server does not answer." });
    }
    if (answer.ok) return answer;
    throw await problemOf(answer);
  }

  get(path) {
    return this.#exchange(path, { method: "GET" });
  }

  post(path) {
    return this.#exchange(path, { method: "POST" });
  }

  async #exchange(path, options) {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    try {
      return parseExactly(await (await this.ask(path, { ...options, signal })).text());
    } catch (error) {
      if (error instanceof Problem) throw error;
      const title = signal.aborted ? "The server did not answer in time." : "The server broke off its answer.";
      throw new Problem({ status: 0, title });
    }
  }
}

async function problemOf(answer) {
  const retryAfterS = Number(answer.headers.get("Retry-After")) || 0;
  const told = await answer.json().catch(() => ({}));
  return new Problem({ title: `Status ${answer.status}`, ...told, status: answer.status, retryAfterS });
}
