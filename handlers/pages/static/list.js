// A list of orders as a table, a row an order, which is brought up to date without losing the reader's place.

import { count, dateOf, moment } from "./format.js";

const FIRST_LIMIT = 10;
const LONGEST_LIMIT = 160;
const hasPointer = matchMedia("(hover: hover)");

/** What may be done to an order by its status. */
const ACTIONS = { Failed: "retry", Pending: "cancel" };

/** Shows that of an element's action buttons which the order's status allows. */
export function showActions(element, order) {
  for (const button of element.querySelectorAll("[data-action]")) {
    button.hidden = button.dataset.action !== ACTIONS[order.status];
    button.setAttribute("aria-label", `${button.textContent} order ${order.order_id.rawJSON}`);
  }
}

/** Calls `onAct` with what an element's buttons do. */
export function onActions(element, onAct) {
  for (const button of element.querySelectorAll("[data-action]")) {
    button.addEventListener("click", () => onAct(button.dataset.action, button));
  }
}

/**
 * One list. `load` has a number of orders and gives `{orders, hasMore}`; `onAct` has an order and what is to be done,
 * `onOpen` an order that is to be shown whole. `onMore` is called when the list is to be fetched for it is longer now,
 * `onLeave` when it may change again, as it does not while it is pointed at.
 */
export class OrderList {
  #given;
  #section;
  #rows = new Map();
  #limit = FIRST_LIMIT;
  #turn = 0;

  constructor({ title, empty, ...given }) {
    this.#given = given;
    this.#section = document.getElementById("list-template").content.cloneNode(true).firstElementChild;
    this.#find("h2").textContent = title;
    this.#find("table").setAttribute("aria-label", title);
    this.#find(".empty").textContent = empty;
    this.#find(".more button").addEventListener("click", () => {
      this.#limit = Math.min(this.#limit * 2, LONGEST_LIMIT);
      given.onMore(this);
    });
    this.#find("tbody").addEventListener("pointerleave", given.onLeave);
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

  /** Fetches the orders and shows them; what comes after a later fetch has begun is not shown. */
  async refresh() {
    const turn = ++this.#turn;
    const { orders, hasMore } = await this.#given.load(this.#limit);
    if (turn === this.#turn) this.show(orders, hasMore);
  }

  show(orders, hasMore = false) {
    // Else a click would meet another order than the one that was pointed at.
    if (hasPointer.matches && this.#find("tbody").matches(":hover")) {
      for (const order of orders) this.update(order);
      return;
    }
    const ids = new Set(orders.map(idOf));
    for (const [id, row] of this.#rows) if (!ids.has(id)) this.#remove(id, row);
    let next = this.#find("tbody").firstElementChild;
    for (const order of orders) {
      const row = this.#rows.get(idOf(order)) ?? this.#add(order, next);
      // A row that is moved loses the focus: the order of rows never changes but for new ones.
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

  /** Shows what has become of an order, where it is in the list. */
  update(order) {
    const row = this.#rows.get(idOf(order));
    if (row) fill(row, order);
  }

  #add(order, next) {
    const row = document.getElementById("row-template").content.cloneNode(true).firstElementChild;
    this.#rows.set(idOf(order), row);
    this.#find("tbody").insertBefore(row, next);
    row.querySelector(".id button").addEventListener("click", () => this.#given.onOpen(row.order));
    onActions(row, (action, button) => this.#given.onAct(row.order, action, button));
    return row;
  }

  #remove(id, row) {
    this.#rows.delete(id);
    const hadFocus = row.contains(document.activeElement);
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    if (!hadFocus) return;
    // Not at what may be done to it: a key pressed twice would do that to another order.
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
  write(row, ".error", order.error ?? "");
  row.dataset.status = order.status;
  row.querySelector("time").dateTime = created.toISOString();
  row.querySelector("time").title = `${order.created_time} UTC`;
  row.querySelector(".error").title = order.error ?? "";
  const focused = row.querySelector(".act button:focus");
  showActions(row, order);
  if (focused?.hidden) row.querySelector(".id button").focus();
}

/** Sets a text, but not anew where it is the same: somebody may be selecting it. */
function write(row, selector, text) {
  const element = row.querySelector(selector);
  if (element.textContent !== text) element.textContent = text;
}
