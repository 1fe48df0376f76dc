// Retries and cancels: which orders allow them, and the requests that make them. `data-needs` of an element says which scope
// the API key needs for the element to be offered (style.css).

import { forEach } from "./bulk.js";
import { confirmAction, showOutcome } from "./dialogs.js";
import { count } from "./format.js";
import { runAction, showNotice } from "./notices.js";
import { queryOf } from "./routes.js";

/** Whether an order in this state allows each action. */
const ALLOWS = {
  retry: (order) => order.status === "Failed" || order.next_attempt_at !== null,
  cancel: (order) => order.status === "Pending",
};

export const allows = (order, action) => ALLOWS[action](order);

/** Shows the action buttons that the order's state allows, and hides the others. */
export function showActions(element, order) {
  for (const button of element.querySelectorAll("[data-action]")) {
    button.hidden = !allows(order, button.dataset.action);
    button.setAttribute("aria-label", `${button.textContent} order ${order.order_id.rawJSON}`);
  }
}

/** Calls `onAct` with the action and the button when an action button is pressed. */
export function onActions(element, onAct) {
  for (const button of element.querySelectorAll("[data-action]")) {
    button.addEventListener("click", () => onAct(button.dataset.action, button));
  }
}

/** "One order" or "3 orders". `kind` is put before the noun. */
export function orders(number, kind = "") {
  const [words, noun] = number === 1 ? ["One", "order"] : [count(number), "orders"];
  return [words, kind, noun].filter(Boolean).join(" ");
}

/**
 * Sends actions, and reports their results. `onOrder` is called with the new state of an order, and true if it was the only
 * one; `onDone` is called after each action.
 */
export class Actions {
  #api;
  #options;
  #running = new Set();

  constructor(api, options) {
    this.#api = api;
    this.#options = options;
  }

  /** Runs an action on an order and shows the result. */
  async act(order, action, pressed) {
    const id = order.order_id.rawJSON;
    const text = "It will not be processed. This can't be undone.";
    const question = { title: `Cancel order ${id}?`, text, yes: "Cancel the order" };
    if (action === "cancel" && !(await confirmAction(question))) return;
    await this.#once(`${action} ${id}`, pressed, async () => {
      try {
        this.#options.onOrder(await this.#send(id, action), true);
      } catch (problem) {
        if (problem.status === 409) this.#options.onOrder(await this.#api.get(`order/${id}`));
        throw problem;
      }
      showNotice(action === "cancel" ? `Order ${id} is cancelled.` : `Order ${id} will be tried again.`);
    });
  }

  /**
   * Runs an action on each of these orders that allows it. `onProgress` is called with a text, which is empty at the end.
   * `onLeft` is called with the orders that were refused, or not sent.
   */
  async actOnAll(given, action, pressed, { onProgress, onLeft }) {
    const able = given.filter((order) => allows(order, action));
    if (!(await confirmAction(questionFor(action, able.length, given.length - able.length)))) return;
    await this.#once(`${action} selected`, pressed, async () => {
      const { done, refused, stopped } = await forEach(able, (order) => this.#send(order.order_id.rawJSON, action), {
        onValue: this.#options.onOrder,
        onProgress: (number) => onProgress(`${number} of ${able.length}`),
      });
      onProgress("");
      onLeft(able.filter((order) => !done.includes(order)));
      if (stopped?.status === 401) throw stopped;
      const summary = summaryOf(action, done.length);
      const unsent = able.length - done.length - refused.length;
      if (refused.length || stopped) showOutcome({ summary, refused, stopped, unsent });
      else showNotice(summary);
    });
  }

  /** Retries all orders that these filters select. `what` describes the orders. */
  async retryMatching(filters, what, pressed) {
    const text = filters.status === "Failed"
      ? `${what} will be tried again, with attempts counted from 0.`
      : `${what} that wait for a retry will be tried now.`;
    if (!(await confirmAction({ title: "Retry all?", text, yes: "Retry all" }))) return;
    await this.#once("retry all", pressed, async () => {
      const { retried } = await this.#api.post(`orders/retry?${queryOf(filters)}`);
      showNotice(`${orders(Number(retried.rawJSON))} will be tried again.`);
    });
  }

  #send(id, action) {
    return this.#api.post(`order/${id}/${action}`);
  }

  /** Runs the work once, even if the button is pressed twice. */
  async #once(what, pressed, work) {
    if (this.#running.has(what)) return;
    this.#running.add(what);
    pressed.setAttribute("aria-disabled", "true");
    await runAction(work);
    this.#running.delete(what);
    pressed.removeAttribute("aria-disabled");
    this.#options.onDone();
  }
}

/** Asks to confirm an action on a number of orders, and says that the status of `others` does not allow it. */
function questionFor(action, number, others) {
  const [it, those] = number === 1 ? ["It", "the order"] : ["They", "the orders"];
  const rest = others ? ` The status of ${orders(others, "other selected").toLowerCase()} does not allow it.` : "";
  const title = `${action === "cancel" ? "Cancel" : "Retry"} ${orders(number).toLowerCase()}?`;
  if (action === "cancel") {
    return { title, text: `${it} will not be processed. This can't be undone.${rest}`, yes: `Cancel ${those}` };
  }
  const text = "Attempts of Failed orders are counted from 0. Orders that wait for a retry are tried now.";
  return { title, text: text + rest, yes: "Retry" };
}

function summaryOf(action, number) {
  const noun = number ? orders(number) : "No order";
  return action === "retry" ? `${noun} will be tried again.` : `${noun} ${number > 1 ? "are" : "is"} cancelled.`;
}
