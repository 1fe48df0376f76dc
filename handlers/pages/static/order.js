// The page of one order: its fields, its timeline, its metadata, and the actions that its state allows.

import { onActions, showActions } from "./actions.js";
import { amount, count, dateOf, moment, precise } from "./format.js";
import { errorFilter } from "./filters.js";
import { readable } from "./readable.js";
import { listUrl } from "./routes.js";
import { showTimeline } from "./timeline.js";

const ID = /^[1-9]\d{0,18}$/;

/** The page of one order. */
export class OrderPage {
  #api;
  #element = document.getElementById("order");
  #id = null;
  #order = null;
  #attempts = [];
  #isMissing = false;

  constructor({ api, actions }) {
    this.#api = api;
    onActions(this.#element, (action, button) => actions.act(this.#order, action, button));
  }

  get title() {
    return `Order ${this.#id}`;
  }

  /** Shows the order with this id, after the next refresh. `back` is the URL of the list that led to it. */
  open({ id, back }) {
    this.#id = id;
    this.#order = null;
    this.#attempts = [];
    this.#isMissing = false;
    this.#find("h2").textContent = this.title;
    this.#find(".back").href = back;
    this.#showParts({ missing: false, found: false });
    for (const button of this.#element.querySelectorAll("[data-action]")) button.hidden = true;
  }

  focus() {
    this.#find("h2").focus();
  }

  /** Fetches the order, unless it is known to be missing. */
  async refresh() {
    const id = this.#id;
    if (this.#isMissing) return;
    const missing = ID.test(id) ? await this.#fetch(id) : `${id} is not the id of an order.`;
    if (id !== this.#id) return;
    this.#isMissing = Boolean(missing);
    this.#find(".missing").textContent = missing;
    this.#showParts({ missing, found: !missing });
  }

  /** Shows the new state of the order, if the page shows this order. */
  update(order) {
    if (this.#id !== order.order_id.rawJSON) return;
    this.#order = order;
    this.#show();
  }

  /** Shows the time that has passed. To be called once a second. */
  tick() {
    if (this.#order) showTimeline(this.#find(".timeline"), this.#order, this.#attempts);
  }

  /** Fetches the order. Resolves to the reason why it can't be shown, or an empty text. */
  async #fetch(id) {
    try {
      const order = await this.#api.get(`order/${id}`);
      const { attempts } = await this.#api.get(`order/${id}/attempts`);
      if (id !== this.#id) return "";
      this.#attempts = attempts;
      this.update(order);
      return "";
    } catch (problem) {
      if (problem.status === 404) return `There is no order ${id}.`;
      if (problem.status === 410) return problem.message;
      throw problem;
    }
  }

  #show() {
    const order = this.#order;
    this.#element.dataset.status = order.status;
    this.#find(".status span").textContent = order.status;
    this.#showFields(order);
    const metadata = order.metadata ? JSON.stringify(order.metadata, null, 2) : "";
    this.#find(".metadata").hidden = !metadata;
    if (this.#find("pre").textContent !== metadata) this.#find("pre").textContent = metadata;
    const focused = this.#find("[data-action]:focus");
    showActions(this.#element, order);
    if (focused?.hidden) this.focus();
    this.tick();
  }

  #showParts({ missing, found }) {
    this.#find(".missing").hidden = !missing;
    this.#find(".found").hidden = this.#find(".status").hidden = !found;
  }

  #showFields(order) {
    const items = order.item_ids.map(({ rawJSON }) => rawJSON);
    const texts = {
      user: order.user_id.rawJSON,
      amount: amount(order.total_amount),
      items: `${items.join(", ")}${items.length > 1 ? ` (${count(items.length)})` : ""}`,
      created: timeText(dateOf(order.created_time), order.created_at),
      processed: order.processed_at && timeText(new Date(order.processed_at), order.processed_at),
      took: order.processing_time && precise(Number(order.processing_time.rawJSON)),
      attempts: order.attempts.rawJSON,
      next: order.next_attempt_at && timeText(new Date(order.next_attempt_at), order.next_attempt_at),
      error: order.error && readable(order.error),
    };
    for (const [name, text] of Object.entries(texts)) {
      const field = this.#find(`[data-field=${name}]`);
      const value = field.querySelector(".value");
      field.hidden = text === null;
      // Replacing an equal text would end a selection in it.
      if (text !== null && value.textContent !== text) value.textContent = text;
    }
    this.#find("[data-field=user] a").href = listUrl({ user_id: order.user_id.rawJSON });
    const source = this.#find(".source");
    source.hidden = texts.error === order.error;
    if (source.querySelector("code").textContent !== order.error) source.querySelector("code").textContent = order.error;
    this.#find(".same").href = listUrl({ status: order.status, error: errorFilter(order.error ?? "") });
  }

  #find(selector) {
    return this.#element.querySelector(selector);
  }
}

const timeText = (date, exact) => `${moment(date)} (${exact})`;
