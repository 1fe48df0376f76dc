// The lists below the charts: failed orders, latest orders and search results, and the actions on them.

import { Problem } from "./api.js";
import { confirmAction, OrderDialog } from "./dialogs.js";
import { count } from "./format.js";
import { OrderList } from "./list.js";
import { runAction, showNotice } from "./notices.js";

const REFRESH_MS = 5_000; // orders can change while the counts stay the same
const HIGHEST_ID = 2n ** 63n - 1n;
const GROUPED = /^\d{1,3}([,'’_\s]\d{3})+$/;
const TERMINAL_STATUSES = new Set(["Completed", "Failed", "Cancelled"]);

const byId = (id) => document.getElementById(id);

/** The lists. Call `setCounts` with each metrics event of the server. */
export class Orders {
  #api;
  #failed;
  #latest;
  #found = null;
  #dialog = new OrderDialog({ onAct: (...given) => this.#act(...given) });
  #retryAll;
  #failedCount = 0;
  #counts = "";
  #shownCounts = "";
  #shownAt = 0;
  #retryAt = 0;
  #isRefreshing = false;
  #isPaused = false;
  #searches = 0;
  #running = new Set();
  #actedOn = new Set();

  constructor(api) {
    this.#api = api;
    this.#failed = this.#listOf("Failed", "No order has failed.", "status=Failed");
    this.#latest = this.#listOf("Latest", "There is no order yet. POST /order takes the first one.", "");
    this.#retryAll = button("Retry all", () => this.#retryAllFailed());
    this.#retryAll.hidden = true;
    this.#failed.addButton(this.#retryAll);
    byId("lists").append(this.#failed.element, this.#latest.element);
    byId("find").addEventListener("submit", (event) => this.#find(event));
    byId("pause").addEventListener("click", () => this.#pause());
    document.addEventListener("visibilitychange", () => this.#refresh());
  }

  /** Refreshes the lists if the counts have changed, or if REFRESH_MS have passed. */
  setCounts(counts, failedCount) {
    this.#counts = counts;
    this.#failedCount = failedCount;
    if (failedCount === 0 && document.activeElement === this.#retryAll) this.#failed.focus();
    this.#retryAll.hidden = failedCount === 0;
    this.#refresh();
  }

  /** Makes the next `setCounts` refresh the lists, even if the counts have not changed. */
  invalidate() {
    this.#shownCounts = "";
  }

  /** Fetches the lists one after the other, if they are due. Does nothing if a refresh is already running. */
  async #refresh() {
    const isDue = this.#counts !== this.#shownCounts || Date.now() - this.#shownAt > REFRESH_MS;
    if (!isDue || this.#isRefreshing || this.#isPaused || document.hidden || Date.now() < this.#retryAt) return;
    this.#isRefreshing = true;
    const counts = this.#counts;
    try {
      for (const list of [this.#failed, this.#latest, this.#found]) await list?.refresh();
      for (const id of this.#actedOn) await this.#fetch(id);
      this.#shownCounts = counts;
      this.#shownAt = Date.now();
      byId("behind").textContent = "";
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      byId("behind").textContent = `The lists are not up to date. ${problem.message}`;
      this.#retryAt = Date.now() + (problem.retryAfterS || 1) * 1_000;
    } finally {
      this.#isRefreshing = false;
    }
  }

  /** Shows the current state of an order, and its attempts if it is in the dialog. */
  async #fetch(id) {
    this.#update(await this.#api.get(`order/${id}`));
    if (this.#dialog.id === id) this.#dialog.showAttempts(await this.#api.get(`order/${id}/attempts`));
  }

  #update(order) {
    const id = order.order_id.rawJSON;
    if (TERMINAL_STATUSES.has(order.status) && this.#dialog.id !== id) this.#actedOn.delete(id);
    for (const each of [this.#failed, this.#latest, this.#found, this.#dialog]) each?.update(order);
  }

  /** Runs an action on an order and shows the result. Runs it once, even if the button is pressed twice. */
  async #act(order, action, pressed) {
    const id = order.order_id.rawJSON;
    const question = { title: `Cancel order ${id}?`, text: "It will not be processed. This can't be undone.", yes: "Cancel the order" };
    if (action === "cancel" && !(await confirmAction(question))) return;
    await this.#once(`${action} ${id}`, pressed, async () => {
      this.#actedOn.add(id);
      try {
        this.#update(await this.#api.post(`order/${id}/${action}`));
      } catch (problem) {
        if (problem.status === 409) await this.#fetch(id);
        throw problem;
      }
      this.#actedOn.add(id);
      showNotice(action === "cancel" ? `Order ${id} is cancelled.` : `Order ${id} will be tried again.`);
    });
  }

  async #retryAllFailed() {
    const one = this.#failedCount === 1;
    const text = `${one ? "One failed order" : `${count(this.#failedCount)} failed orders`} will be tried again, with attempts counted from 0.`;
    if (!(await confirmAction({ title: "Retry all failed orders?", text, yes: "Retry all" }))) return;
    await this.#once("retry all", this.#retryAll, async () => {
      const { retried } = await this.#api.post("orders/retry?status=Failed");
      showNotice(retried.rawJSON === "1" ? "One order will be tried again." : `${count(retried.rawJSON)} orders will be tried again.`);
    });
  }

  async #once(what, pressed, work) {
    if (this.#running.has(what)) return;
    this.#running.add(what);
    pressed.setAttribute("aria-disabled", "true");
    await runAction(work);
    this.#running.delete(what);
    pressed.removeAttribute("aria-disabled");
    this.invalidate();
  }

  async #open(order) {
    const id = order.order_id.rawJSON;
    this.#dialog.open(order);
    this.#actedOn.add(id);
    await runAction(() => this.#fetch(id));
  }

  async #find(event) {
    event.preventDefault();
    const given = byId("find-number").value.trim();
    const digits = GROUPED.test(given) ? given.replace(/\D/g, "") : given;
    if (!/^\d{1,19}$/.test(digits) || BigInt(digits) < 1n || BigInt(digits) > HIGHEST_ID) {
      return showNotice("An id is a whole number from 1 to 9223372036854775807.", true);
    }
    const id = String(BigInt(digits));
    const isOrder = byId("find-what").value === "order";
    const list = isOrder
      ? this.#listOf(`Order ${id}`, `There is no order ${id}.`, "", () => this.#one(id))
      : this.#listOf(`Orders of user ${id}`, `There is no order of user ${id}.`, `user_id=${id}`);
    const search = ++this.#searches;
    await runAction(async () => {
      await list.refresh();
      if (search !== this.#searches) return;
      list.addButton(button("Close", () => this.#closeFound()));
      this.#found?.element.remove();
      this.#found = list;
      byId("find").after(list.element);
      list.focus();
    });
  }

  #closeFound() {
    this.#found.element.remove();
    this.#found = null;
    byId("find-number").focus();
  }

  #pause() {
    this.#isPaused = !this.#isPaused;
    byId("pause").setAttribute("aria-pressed", String(this.#isPaused));
    this.#refresh();
  }

  #listOf(title, empty, query, load = (limit) => this.#page(query, limit)) {
    const onAct = (...given) => this.#act(...given);
    const onOpen = (order) => this.#open(order);
    const onMore = (list) => runAction(() => list.refresh());
    const onLeave = () => {
      this.invalidate();
      this.#refresh();
    };
    return new OrderList({ title, empty, load, onAct, onOpen, onMore, onLeave });
  }

  async #page(query, limit) {
    const { orders, next_cursor: more } = await this.#api.get(`orders?limit=${limit}${query && `&${query}`}`);
    return { orders, hasMore: more !== null };
  }

  async #one(id) {
    try {
      return { orders: [await this.#api.get(`order/${id}`)] };
    } catch (problem) {
      if (problem.status === 404) return { orders: [] };
      throw problem;
    }
  }
}

function button(text, onClick) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  element.addEventListener("click", onClick);
  return element;
}
