// The dialogs: one asks for the API key, one asks to confirm an action, and one shows all fields of an order.

import { dateOf, duration, moment } from "./format.js";
import { onActions, showActions } from "./list.js";
import { readable } from "./readable.js";

const byId = (id) => document.getElementById(id);
const HEADER_SAFE = /^[\x21-\x7e]+$/;

/** Asks for an API key until the user enters one. `complaint` says what was wrong with the last key. */
export function askForKey(complaint = "") {
  const dialog = byId("key-dialog");
  const [form, input] = [dialog.querySelector("form"), byId("key")];
  const complain = (text) => (dialog.querySelector(".complaint").textContent = text);
  complain(complaint);
  input.value = "";
  return new Promise((resolve) => {
    let key = null;
    // Without a key there is nothing to show. A browser closes a dialog if Escape is pressed twice: open it again.
    dialog.oncancel = (event) => event.preventDefault();
    dialog.onclose = () => key ?? dialog.showModal();
    form.onsubmit = (event) => {
      event.preventDefault();
      const given = input.value.trim();
      if (!HEADER_SAFE.test(given)) return complain("This can't be a key: it has characters that no key has.");
      key = given;
      input.value = "";
      dialog.close();
      resolve(key);
    };
    if (!dialog.open) dialog.showModal();
    input.focus();
  });
}

/** Asks the user to confirm an action. `yes` is the text of the button to confirm. Resolves to true or false. */
export function confirmAction({ title, text, yes }) {
  const dialog = byId("question");
  byId("question-title").textContent = title;
  byId("question-text").textContent = text;
  dialog.querySelector("[value=yes]").textContent = yes;
  dialog.returnValue = "no";
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
    dialog.showModal();
  });
}

/**
 * Shows all fields of an order, its attempts, and the actions that its state allows. `onAct` is called with the order, the
 * action and the pressed button.
 */
export class OrderDialog {
  #dialog = byId("order");
  #order = null;
  #facts = new Map();
  #attempts = this.#dialog.querySelector(".history");

  constructor({ onAct }) {
    this.#dialog.querySelector(".close").addEventListener("click", () => this.#dialog.close());
    onActions(this.#dialog, (action, button) => onAct(this.#order, action, button));
  }

  /** The id of the order that is shown, or null. */
  get id() {
    return this.#dialog.open ? this.#order.order_id.rawJSON : null;
  }

  open(order) {
    this.#facts.clear();
    this.#attempts.replaceChildren();
    this.#show(order);
    this.#dialog.showModal();
    this.#dialog.querySelector(".close").focus();
  }

  /** Shows the new state of the order, if the dialog shows this order. */
  update(order) {
    if (this.id === order.order_id.rawJSON) this.#show(order);
  }

  /** Shows the attempts at the order, if it is the one that is shown. */
  showAttempts({ order_id: id, attempts }) {
    if (this.id !== id.rawJSON) return;
    const items = attempts.map(attemptItem);
    // Unchanged items stay, to keep a selection of the user.
    this.#attempts.replaceChildren(...items.map((item, index) => {
      const old = this.#attempts.children[index];
      return old?.isEqualNode(item) ? old : item;
    }));
  }

  #show(order) {
    this.#order = order;
    byId("order-title").textContent = `Order ${order.order_id.rawJSON}`;
    // `created_at` and `processed_at` repeat two other fields.
    const { metadata, item_ids: itemIds, order_id: _, created_at: _1, processed_at: _2, ...rest } = order;
    const facts = { ...rest, item_ids: itemIds.map(({ rawJSON }) => rawJSON).join(", ") };
    if (metadata) facts.metadata = JSON.stringify(metadata, null, 2);
    const list = this.#dialog.querySelector("dl");
    const shown = Object.entries(facts).flatMap(([name, value]) => this.#fact(name, textOf(name, value)));
    if (shown.some((each) => each.parentNode !== list)) list.replaceChildren(...shown);
    const focused = this.#dialog.querySelector("[data-action]:focus");
    showActions(this.#dialog, order);
    if (focused?.hidden) this.#dialog.querySelector(".close").focus();
  }

  /** The term and description elements of a field. Reused if the text is unchanged, to keep a selection of the user. */
  #fact(name, text) {
    const old = this.#facts.get(name);
    if (old?.[1].textContent === text) return old;
    const [term, description, content] = ["dt", "dd", name === "metadata" ? "pre" : "span"].map((tag) => document.createElement(tag));
    term.textContent = name.replaceAll("_", " ");
    content.textContent = text;
    description.append(content);
    this.#facts.set(name, [term, description]);
    return [term, description];
  }
}

function attemptItem({ number, started_at: start, ended_at: end, outcome, error }) {
  const item = document.createElement("li");
  const time = start === null ? "–" : moment(new Date(start));
  const length = start === null || end === null ? "" : duration((new Date(end) - new Date(start)) / 1_000);
  for (const text of [`Attempt ${number.rawJSON}`, outcome ?? "running", time, length, readable(error ?? "")]) {
    const part = document.createElement("span");
    part.textContent = text;
    item.append(part);
  }
  return item;
}

function textOf(name, value) {
  if (value === null) return "–";
  if (name === "error") return readable(value);
  if (name.endsWith("_time") && typeof value === "string") return `${moment(dateOf(value))} (${value} UTC)`;
  if (name.endsWith("_at")) return `${moment(new Date(value))} (${value})`;
  const text = typeof value === "object" ? value.rawJSON : value;
  return name === "processing_time" ? `${text} s` : text;
}
