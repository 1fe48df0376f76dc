// A list of orders: a table with a row for each. Updates keep the focus and the row that the user points at.

import { count, dateOf, moment } from "./format.js";
import { readableLine } from "./readable.js";

const FIRST_LIMIT = 10;
const LONGEST_LIMIT = 160;
const hasPointer = matchMedia("(hover: hover)");

/** Whether an order in this state allows each action. */
const ALLOWS = {
  retry: (order) => order.status === "Failed" || order.next_attempt_at !== null,
  cancel: (order) => order.status === "Pending",
};

/** Shows the action buttons that the order's state allows, and hides the others. */
export function showActions(element, order) {
  for (const button of element.querySelectorAll("[data-action]")) {
    button.hidden = !ALLOWS[button.dataset.action](order);
    button.setAttribute("aria-label", `${button.textContent} order ${order.order_id.rawJSON}`);
  }
}

/** Calls `onAct` with the action and the button when an action button is pressed. */
export function onActions(element, onAct) {
  for (const button of element.querySelectorAll("[data-action]")) {
    button.addEventListener("click", () => onAct(button.dataset.action, button));
  }
}

/**
 * One list. `load(limit)` resolves to `{orders, hasMore}`. `onAct` is called with an order and an action, `onOpen` with
 * an order to show in the dialog, `onMore` when the user requests a longer list, and `onLeave` when the pointer leaves
 * the list. While the pointer is over the list, no row is added, moved or removed.
 */
export class OrderList {
  #options;
  #section;
  #rows = new Map();
  #limit = FIRST_LIMIT;
  #fetches = 0;

  constructor({ title, empty, ...options }) {
    this.#options = options;
    this.#section = document.getElementById("list-template").content.cloneNode(true).firstElementChild;
    this.#find("h2").textContent = title;
    this.#find("table").setAttribute("aria-label", title);
    this.#find(".empty").textContent = empty;
    this.#find(".more button").addEventListener("click", () => {
      this.#limit = Math.min(this.#limit * 2, LONGEST_LIMIT);
      options.onMore(this);
    });
    this.#find("tbody").addEventListener("pointerleave", options.onLeave);
  }

  get element() {
    return this.#section;
  }

  /** Adds a button beside the title. */
  addButton(button) {
    this.#find(".heading .buttons").append(button);
  }

  focus() {
    this.#find("h2").focus();
  }

  /** Fetches the orders, and shows them unless a later fetch has begun in the meantime. */
  async refresh() {
    const number = ++this.#fetches;
    const { orders, hasMore } = await this.#options.load(this.#limit);
    if (number === this.#fetches) this.show(orders, hasMore);
  }

  show(orders, hasMore = false) {
    // Otherwise a click could act on a different order than the one that the user pointed at.
    if (hasPointer.matches && this.#find("tbody").matches(":hover")) {
      for (const order of orders) this.update(order);
      return;
    }
    const ids = new Set(orders.map(idOf));
    for (const [id, row] of this.#rows) if (!ids.has(id)) this.#remove(id, row);
    let next = this.#find("tbody").firstElementChild;
    for (const order of orders) {
      const row = this.#rows.get(idOf(order)) ?? this.#add(order, next);
      // Moving a row would lose its focus. Existing rows never change their sequence; new rows are inserted.
      if (row === next) next = row.nextElementSibling;
      else if (row.nextElementSibling !== next) this.#find("tbody").insertBefore(row, next);
      fill(row, order);
    }
    const isAtEnd = this.#limit >= LONGEST_LIMIT;
    if ((isAtEnd || !hasMore) && this.#find(".more button") === document.activeElement) this.focus();
    this.#find(".empty").hidden = orders.length > 0;
    this.#find("table").hidden = orders.length === 0;
    this.#find(".more").hidden = !hasMore;
    this.#find(".more button").hidden = isAtEnd;
    this.#find(".more span").hidden = !isAtEnd;
  }

  /** Shows the new state of an order, if it is in the list. */
  update(order) {
    const row = this.#rows.get(idOf(order));
    if (row) fill(row, order);
  }

  #add(order, next) {
    const row = document.getElementById("row-template").content.cloneNode(true).firstElementChild;
    this.#rows.set(idOf(order), row);
    this.#find("tbody").insertBefore(row, next);
    row.querySelector(".id button").addEventListener("click", () => this.#options.onOpen(row.order));
    onActions(row, (action, button) => this.#options.onAct(row.order, action, button));
    return row;
  }

  #remove(id, row) {
    this.#rows.delete(id);
    const hadFocus = row.contains(document.activeElement);
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    if (!hadFocus) return;
    // Does not focus the neighbour's action button: a key pressed twice would act on another order.
    (neighbour?.querySelector(".id button") ?? this.#find("h2")).focus();
  }

  #find(selector) {
    return this.#section.querySelector(selector);
  }
}

const idOf = (order) => order.order_id.rawJSON;

function fill(row, order) {
  row.order = order;
  const created = dateOf(order.created_time);
  write(row, ".id button", idOf(order));
  write(row, ".user", order.user_id.rawJSON);
  write(row, ".items", count(order.item_ids.length));
  write(row, ".amount", order.total_amount.rawJSON);
  write(row, ".status span", order.status);
  write(row, ".created time", moment(created));
  write(row, ".attempts", order.attempts.rawJSON);
  const error = readableLine(order.error ?? "");
  write(row, ".error", error);
  row.dataset.status = order.status;
  row.querySelector("time").dateTime = created.toISOString();
  row.querySelector("time").title = `${order.created_time} UTC`;
  row.querySelector(".error").title = error;
  const focused = row.querySelector(".act button:focus");
  showActions(row, order);
  if (focused?.hidden) row.querySelector(".id button").focus();
}

/** Sets a text only if it differs, to keep a selection of the user. */
function write(row, selector, text) {
  const element = row.querySelector(selector);
  if (element.textContent !== text) element.textContent = text;
}
