// What stands above the page: the question for a key, for a yes, and an order whole.

import { showAction } from "./list.js";

const byId = (id) => document.getElementById(id);
const HEADER_SAFE = /^[\x21-\x7e]+$/;

/** Asks for an API key until one is given; `complaint` says what was wrong with the last one. */
export function askForKey(complaint = "") {
  const dialog = byId("key-dialog");
  const [form, input] = [dialog.querySelector("form"), byId("key")];
  const complain = (text) => (dialog.querySelector(".complaint").textContent = text);
  complain(complaint);
  input.value = "";
  return new Promise((resolve) => {
    dialog.oncancel = (event) => event.preventDefault(); // there is nothing to see without
    form.onsubmit = (event) => {
      event.preventDefault();
      const key = input.value.trim();
      if (!HEADER_SAFE.test(key)) return complain("This can't be a key: it has characters that no key has.");
      input.value = "";
      dialog.close();
      resolve(key);
    };
    if (!dialog.open) dialog.showModal();
    input.focus();
  });
}

/** Whether the answer to a question is yes; `yes` says what is then done. */
export function ask({ title, text, yes }) {
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

/** An order whole, with what may be done to it. `onAct` has the order and what is to be done. */
export class OrderDialog {
  #dialog = byId("order");
  #order = null;

  constructor({ onAct }) {
    this.#dialog.querySelector(".close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.querySelector(".action").addEventListener("click", ({ currentTarget }) =>
      onAct(this.#order, currentTarget.dataset.action),
    );
  }

  /** The id of the order that is being shown, or null. */
  get id() {
    return this.#dialog.open ? this.#order.order_id.rawJSON : null;
  }

  open(order) {
    this.#show(order);
    this.#dialog.showModal();
    this.#dialog.querySelector(".close").focus();
  }

  /** Shows what has become of the order, if it is being shown. */
  update(order) {
    if (this.id === order.order_id.rawJSON) this.#show(order);
  }

  #show(order) {
    this.#order = order;
    byId("order-title").textContent = `Order ${order.order_id.rawJSON}`;
    const { metadata, item_ids: itemIds, order_id: _, ...rest } = order;
    const facts = { ...rest, item_ids: itemIds.map(({ rawJSON }) => rawJSON).join(", ") };
    const list = this.#dialog.querySelector("dl");
    list.replaceChildren(...Object.entries(facts).flatMap(([name, value]) => fact(name, textOf(value))));
    if (metadata) list.append(...fact("metadata", JSON.stringify(metadata, null, 2), "pre"));
    const button = this.#dialog.querySelector(".action");
    showAction(button, order);
    if (button.hidden && !this.#dialog.contains(document.activeElement)) this.#dialog.querySelector(".close").focus();
  }
}

function textOf(value) {
  if (value === null) return "–";
  return typeof value === "object" ? value.rawJSON : value;
}

const UNITS = { created_time: " UTC", processed_time: " UTC", processing_time: " s" };

function fact(name, text, tag = "span") {
  const [term, description, content] = ["dt", "dd", tag].map((each) => document.createElement(each));
  term.textContent = name.replaceAll("_", " ");
  content.textContent = text === "–" ? text : text + (UNITS[name] ?? "");
  description.append(content);
  return [term, description];
}
