// Sends a request for each of many orders. The server has no request that retries or cancels a selection of orders.

import { Problem } from "./api.js";

const AT_ONCE = 4; // a browser has six connections to a server for all of its tabs
const MAX_REPEATS = 5;
const MAX_WAIT_S = 60;
const TEMPORARY = new Set([429, 503]);
const REFUSED = new Set([404, 409, 410, ...TEMPORARY]);

/**
 * Calls `send` for each order, a few at a time. Resolves to the orders for which it succeeded (`done`), and a list of
 * `{ order, problem }` for the orders that the server refused.
 *
 * If the server is busy, waits as long as it asks for, and tries again. Stops at any other Problem, because all further
 * requests would fail as well: `stopped` is this Problem.
 */
export async function forEach(orders, send, { onValue, onProgress }) {
  const waiting = [...orders];
  const done = [];
  const refused = [];
  let stopped = null;

  async function sendNext() {
    const order = waiting.shift();
    try {
      onValue(await patiently(() => send(order)));
      done.push(order);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (REFUSED.has(problem.status)) refused.push({ order, problem });
      else stopped = problem;
    }
    onProgress(done.length + refused.length);
  }

  async function work() {
    while (waiting.length && !stopped) await sendNext();
  }

  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return { done, refused, stopped };
}

async function patiently(send) {
  for (let repeats = 0; ; repeats += 1) {
    try {
      return await send();
    } catch (problem) {
      if (!TEMPORARY.has(problem.status) || repeats === MAX_REPEATS || problem.retryAfterS > MAX_WAIT_S) throw problem;
      await new Promise((resolve) => setTimeout(resolve, (problem.retryAfterS || 1) * 1_000));
    }
  }
}
