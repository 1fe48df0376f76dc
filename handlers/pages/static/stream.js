// Reads the server's events. Does not use EventSource, because it can send an API key only in the URL.

import { Problem } from "./api.js";

const SILENCE_MS = 5_000; // the server sends an event each second
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 4_000;
const SILENT = new Problem({ status: 0, title: "The server is silent." });

/**
 * Reads Server-Sent Events from the path that `path()` returns, and connects again whenever the stream ends. It
 * disconnects while the page is hidden: a browser has six connections to a server for all of its tabs.
 *
 * `onEvent` is called with the type and data of each event, `onLive` with the response headers at the first event of a
 * connection, `onLost` with the Problem when such a connection breaks or ends, `onGone` with the Problem when a new one
 * fails or the server is silent, and `onUnauthorized` with the Problem if the key is rejected. After `onUnauthorized`,
 * the stream stays closed until `open` is called.
 */
export class Stream {
  #options;
  #abort = null;
  #wakeUp = () => {};

  constructor(options) {
    this.#options = options;
    for (const type of ["online", "pageshow"]) addEventListener(type, () => this.#wakeUp());
    document.addEventListener("visibilitychange", () => {
      if (!this.#abort) return;
      if (document.hidden) this.#abort.abort();
      else if (this.#abort.signal.aborted) this.open();
    });
  }

  open() {
    this.#abort?.abort();
    this.#abort = new AbortController();
    this.#follow(this.#abort.signal);
  }

  async #follow(signal) {
    const { onLost, onGone, onUnauthorized } = this.#options;
    let pauseMs = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      let problem = new Problem({ status: 0, title: "The server ended the connection." });
      let wasLive = false;
      try {
        await this.#read(signal, () => {
          wasLive = true;
          pauseMs = FIRST_PAUSE_MS;
        });
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 401) {
          this.#abort = null;
          return onUnauthorized(error);
        }
        if (error instanceof Problem) problem = error;
        else console.info(error);
      }
      if (signal.aborted) return;
      if (wasLive && problem !== SILENT) onLost(problem);
      else onGone(problem);
      await this.#pause(Math.max(pauseMs, problem.retryAfterS * 1_000 || 0));
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    }
  }

  async #read(signal, onFirst) {
    const { api, path, onEvent, onLive } = this.#options;
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    const either = AbortSignal.any([signal, silence.signal]);
    let isFirst = true;
    try {
      const response = await api.request(path(), { headers: { Accept: "text/event-stream" }, signal: either });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        const blocks = (text + value).split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const { type, data } = parse(block);
          if (!data) continue;
          if (isFirst) {
            isFirst = false;
            onFirst();
            onLive(response.headers);
          }
          onEvent(type, data);
        }
      }
    } catch (error) {
      if (silence.signal.aborted && !signal.aborted) throw SILENT;
      if (error instanceof TypeError) throw new Problem({ status: 0, title: "The connection broke." });
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** The type and the data of an event, from its lines (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
function parse(block) {
  let type = "message";
  const data = [];
  for (const line of block.split("\n")) {
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (name === "event") type = value;
    else if (name === "data") data.push(value);
  }
  return { type, data: data.join("\n") };
}
