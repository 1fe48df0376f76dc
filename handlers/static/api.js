// Asks the server. Paths are relative to the page, so that a proxy may serve all of it below a path of its own.

const STORED_KEY = "orders-key";

/** What the server refused, or that it can't be reached (status 0). */
export class Problem extends Error {
  constructor({ status, title, detail, retryAfterS }) {
    super(detail || title);
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

  /** The answer to a request, whose body is still to be read. Throws a Problem for any but a 2xx. */
  async ask(path, options = {}) {
    const headers = { Accept: "application/json", ...options.headers };
    if (this.needsKey && this.key) headers.Authorization = `Bearer ${this.key}`;
    let answer;
    try {
      answer = await fetch(path, { cache: "no-store", credentials: "omit", redirect: "error", ...options, headers });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new Problem({ status: 0, title: "The server does not answer." });
    }
    if (answer.ok) return answer;
    throw await problemOf(answer);
  }

  async get(path, options) {
    return read(await this.ask(path, options));
  }

  async post(path) {
    return read(await this.ask(path, { method: "POST" }));
  }
}

async function read(answer) {
  let text;
  try {
    text = await answer.text();
  } catch {
    throw new Problem({ status: 0, title: "The server broke off its answer." });
  }
  return parseExactly(text);
}

async function problemOf(answer) {
  const retryAfterS = Number(answer.headers.get("Retry-After")) || 0;
  const told = await answer.json().catch(() => ({}));
  return new Problem({ title: `Status ${answer.status}`, ...told, status: answer.status, retryAfterS });
}
