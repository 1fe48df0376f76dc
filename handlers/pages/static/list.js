// A list of orders: a table with a row for each. Updates keep the focus and the row that the user points at.

import { onActions, showActions } from "./actions.js";
import { amount, count, dateOf, moment } from "./format.js";
import { readableLine } from "./readable.js";
import { orderUrl } from "./routes.js";

const hasPointer = matchMedia("(hover: hover)");

/**
 * One list. `load()` resolves to the orders of the list. `onAct` is called with an order, an action and the pressed button,
 * `onLeave` when the pointer leaves the list, and `onRows` after rows have been added, removed or changed. While the pointer
 * is over the list, no row is added, moved or removed.
 */
export class OrderList {
  #options;
  #section;
  #rows = new Map();
  #fetches = 0;

  constructor({ title, empty, ...options }) {
    this.#options = options;
    this.#section = document.getElementById("list-template").content.cloneNode(true).firstElementChild;
    this.setTexts(title, empty);
    this.#find("tbody").addEventListener("pointerleave", options.onLeave);
  }

  get element() {
    return this.#section;
  }

  /** Sets the title, and the text that is shown instead of an empty table. */
  setTexts(title, empty) {
    this.#find("table").setAttribute("aria-label", title);
    write(this.#section, "h2", title);
    write(this.#section, ".empty", empty);
  }

  /** The rows, each with its `order`. */
  get rows() {
    return [...this.#rows.values()];
  }

  /** Adds an element beside the title. */
  addToHeading(element) {
    this.#find(".heading .buttons").append(element);
  }

  /** Adds an element between the title and the orders, or below the orders. */
  add(element, isBelow = false) {
    if (isBelow) this.#section.append(element);
    else this.#find("table").before(element);
  }

  /** Whether the order with this id is in the list. */
  has(id) {
    return this.#rows.has(id);
  }

  /** Moves the focus to the link of this order, or to the title if the list does not have the order. */
  focus(id = null) {
    (this.#rows.get(id)?.querySelector(".id a") ?? this.#find("h2")).focus();
  }

  /** Fetches the orders, and shows them unless a later fetch has begun in the meantime. */
  async refresh() {
    const number = ++this.#fetches;
    const orders = await this.#options.load();
    if (number !== this.#fetches) return;
    this.#section.ariaBusy = null;
    this.#show(orders);
  }

  /** Removes all rows, and ignores the fetch that is running. */
  clear() {
    this.#fetches += 1;
    this.#rows.clear();
    this.#find("tbody").replaceChildren();
    this.#find("table").hidden = this.#find(".empty").hidden = true;
    this.#section.ariaBusy = "true";
    this.#options.onRows?.();
  }

  #show(orders) {
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
    alignAmounts([...this.#find("tbody").querySelectorAll(".amount")]);
    this.#find(".empty").hidden = orders.length > 0;
    this.#find("table").hidden = orders.length === 0;
    this.#options.onRows?.();
  }

  /** Shows the new state of an order, if it is in the list. */
  update(order) {
    const row = this.#rows.get(idOf(order));
    if (!row) return;
    fill(row, order);
    this.#options.onRows?.();
  }

  #add(order, next) {
    const row = document.getElementById("row-template").content.cloneNode(true).firstElementChild;
    this.#rows.set(idOf(order), row);
    this.#find("tbody").insertBefore(row, next);
    row.querySelector(".id a").href = orderUrl(idOf(order));
    row.querySelector(".pick input").setAttribute("aria-label", `Select order ${idOf(order)}`);
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
    (neighbour?.querySelector(".id a") ?? this.#find("h2")).focus();
  }

  #find(selector) {
    return this.#section.querySelector(selector);
  }
}

const idOf = (order) => order.order_id.rawJSON;

function fill(row, order) {
  row.order = order;
  const error = readableLine(order.error ?? "");
  write(row, ".id a", idOf(order));
  write(row, ".user", order.user_id.rawJSON);
  write(row, ".items", count(order.item_ids.length));
  write(row, ".amount", amount(order.total_amount));
  write(row, ".status span", order.status);
  write(row, ".attempts", order.attempts.rawJSON);
  write(row, ".error", error);
  writeTime(row, ".created time", dateOf(order.created_time));
  writeTime(row, ".next time", order.next_attempt_at && new Date(order.next_attempt_at), "due");
  row.dataset.status = order.status;
  row.querySelector(".error").title = error;
  const focused = row.querySelector(".act button:focus");
  showActions(row, order);
  if (focused?.hidden) row.querySelector(".id a").focus();
}

/** Aligns the decimal points: appends what an amount lacks to the longest fraction, invisibly (orders.css). */
function alignAmounts(cells) {
  const fractions = cells.map(({ textContent }) => /\..*|$/.exec(textContent)[0]);
  const longest = fractions.reduce((a, b) => (b.length > a.length ? b : a), "");
  cells.forEach((cell, index) => (cell.dataset.lacks = longest.slice(fractions[index].length)));
}

/** Sets a text only if it differs, to keep a selection of the user. */
function write(parent, selector, text) {
  const element = parent.querySelector(selector);
  if (element.textContent !== text) element.textContent = text;
}

/** Shows a Date. Without one, shows `otherwise`. */
function writeTime(row, selector, date, otherwise) {
  write(row, selector, date ? moment(date) : otherwise);
  const element = row.querySelector(selector);
  if (date) element.dateTime = date.toISOString();
  element.title = date ? element.dateTime : "";
}
