// A list of orders as a table, a row an order, which is brought up to date without losing the reader's place.

import { count, dateOf, moment } from "./format.js";

const FIRST_LIMIT = 10;
const LONGEST_LIMIT = 200;

/** What may be done to an order by its status. */
export const ACTIONS = { Failed: "retry", Pending: "cancel" };
const LABELS = { retry: "Retry", cancel: "Cancel" };

/** Sets up a button for what may be done to an order, or hides it. */
export function showAction(button, order) {
  const action = ACTIONS[order.status];
  button.hidden = !action;
  if (!action) return;
  button.dataset.action = action;
  button.textContent = LABELS[action];
  button.setAttribute("aria-label", `${LABELS[action]} order ${order.order_id.rawJSON}`);
}

/**
 * One list. `load` has a number of orders and gives `{orders, hasMore}`; `onAct` has an order and what is to be done,
 * `onOpen` an order that is to be shown whole.
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
    this.#find(".empty").textContent = empty;
    this.#find(".more button").addEventListener("click", () => {
      this.#limit = Math.min(this.#limit * 2, LONGEST_LIMIT);
      given.onMore(this);
    });
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
    this.#find(".empty").hidden = orders.length > 0;
    this.#find("table").hidden = orders.length === 0;
    this.#find(".more").hidden = !hasMore || this.#limit >= LONGEST_LIMIT;
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
    row.querySelector(".act button").addEventListener("click", ({ currentTarget }) =>
      this.#given.onAct(row.order, currentTarget.dataset.action),
    );
    return row;
  }

  #remove(id, row) {
    this.#rows.delete(id);
    const hadFocus = row.contains(document.activeElement);
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    if (!hadFocus) return;
    const button = neighbour?.querySelector(".act button:not([hidden])") ?? neighbour?.querySelector(".id button");
    (button ?? this.#find("h2")).focus();
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
  const button = row.querySelector(".act button");
  const hadFocus = document.activeElement === button;
  showAction(button, order);
  if (hadFocus && button.hidden) row.querySelector(".id button").focus();
}

/** Sets a text, but not anew where it is the same: somebody may be selecting it. */
function write(row, selector, text) {
  const element = row.querySelector(selector);
  if (element.textContent !== text) element.textContent = text;
}
