// The page of a list: the filters, the orders that they select, a page at a time, and the actions on many of them.

import { count } from "./format.js";
import { errorFilter, FilterForm, titleOf } from "./filters.js";
import { OrderList } from "./list.js";
import { readableLine } from "./readable.js";
import { listUrl, queryOf } from "./routes.js";
import { Selection } from "./selection.js";

const PAGE_ORDERS = 100;
const MAX_REQUESTS = 3; // with an error as a filter, a response can have fewer orders than requested, and yet more follow
const MAX_KINDS = 5;

/** The page of a list. */
export class Listing {
  #api;
  #filters = {};
  #list;
  #selection;
  #form;
  #kinds;
  #pages;
  #retry;
  #next = null;

  constructor({ api, actions, onLeave }) {
    this.#api = api;
    this.#list = new OrderList({
      title: "Orders",
      empty: "No order matches.",
      load: () => this.#load(),
      onAct: (...given) => actions.act(...given),
      onLeave,
      onRows: () => this.#showRows(),
    });
    const { element } = this.#list;
    this.#form = new FilterForm({ onChange: (filters) => (location.hash = listUrl(filters)) });
    const onAct = (...given) => actions.actOnAll(...given);
    this.#selection = new Selection({ list: element, rows: () => this.#list.rows, onAct });
    const extras = document.getElementById("listing-template").content.cloneNode(true);
    [this.#retry, this.#kinds, this.#pages] = [".retry-all", ".kinds", ".pages"].map((each) => extras.querySelector(each));
    this.#retry.addEventListener("click", () => {
      const { status, error, created_after, created_before } = this.#filters;
      actions.retryMatching({ status, error, created_after, created_before }, titleOf(this.#filters), this.#retry);
    });
    this.#list.addToHeading(this.#retry);
    this.#list.add(this.#kinds);
    this.#list.add(this.#selection.element);
    this.#list.add(this.#pages, true);
    element.classList.add("pickable");
    document.getElementById("listing").append(element);
  }

  get title() {
    return titleOf(this.#filters);
  }

  /** Shows the orders that these filters select, after the next refresh. */
  open(filters) {
    this.#filters = filters;
    this.#next = null;
    this.#list.clear();
    this.#form.show(filters);
    this.#list.element.classList.toggle("waiting", filters.status === "Pending");
    this.#retry.textContent = filters.status === "Pending" ? "Retry all now" : "Retry all";
    this.#pages.querySelector(".first").href = listUrl({ ...filters, cursor: null });
    this.#showRows();
  }

  focus(id) {
    this.#list.focus(id);
  }

  refresh() {
    return this.#list.refresh();
  }

  update(order) {
    this.#list.update(order);
  }

  async #load() {
    const filters = this.#filters;
    const orders = [];
    let next = filters.cursor;
    for (let requests = 0; requests < MAX_REQUESTS; requests += 1) {
      const limit = PAGE_ORDERS - orders.length;
      const cursor = next;
      const page = await this.#api.get(`orders?${queryOf({ ...filters, cursor, limit })}`);
      orders.push(...page.orders);
      // Oldest first, the last page also has a cursor, for orders that are accepted later.
      const isLast = page.next_cursor === null || (filters.error ? page.next_cursor === cursor : page.orders.length < limit);
      next = isLast ? null : page.next_cursor;
      if (isLast || page.orders.length === limit) break;
    }
    if (filters === this.#filters) this.#next = next;
    return orders;
  }

  #showRows() {
    const { rows } = this.#list;
    const { status, user_id: userId, cursor } = this.#filters;
    const none = `There are no ${this.title.replace(/^(?:All o|O)/, "o")}.`;
    this.#list.setTexts(this.title, this.#next ? "No match so far. The next page examines more orders." : none);
    const pages = { first: cursor, next: this.#next };
    for (const [name, isShown] of Object.entries(pages)) {
      const link = this.#pages.querySelector(`.${name}`);
      if (!isShown && link === document.activeElement) this.focus();
      link.hidden = !isShown;
    }
    this.#pages.querySelector(".next").href = listUrl({ ...this.#filters, cursor: this.#next });
    this.#pages.hidden = !cursor && !this.#next;
    this.#retry.hidden = !["Failed", "Pending"].includes(status) || Boolean(userId) || rows.length === 0;
    this.#selection.show();
    this.#showKinds(rows.map(({ order }) => order.error).filter(Boolean));
  }

  /** Shows the most frequent errors, each with a link to the orders that have it. */
  #showKinds(errors) {
    const numbers = new Map();
    for (const error of errors) numbers.set(error, (numbers.get(error) ?? 0) + 1);
    const frequent = [...numbers].filter(([, number]) => number > 1).sort((a, b) => b[1] - a[1]).slice(0, MAX_KINDS);
    this.#kinds.hidden = numbers.size < 2 || frequent.length === 0 || Boolean(this.#filters.error);
    const items = this.#kinds.hidden ? [] : frequent.map(([error, number]) => {
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = listUrl({ ...this.#filters, cursor: null, error: errorFilter(error) });
      link.textContent = readableLine(error);
      item.append(`${count(number)} × `, link);
      return item;
    });
    const list = this.#kinds.querySelector("ul");
    const isEqual = items.length === list.children.length && items.every((item, index) => item.isEqualNode(list.children[index]));
    if (!isEqual) list.replaceChildren(...items); // replacing equal items would move the focus
  }
}
