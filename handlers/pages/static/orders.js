// The views of the page: the overview, a list and an order. The URL says which one is shown.

import { Actions } from "./actions.js";
import { Problem } from "./api.js";
import { idOf } from "./filters.js";
import { Listing } from "./listing.js";
import { showNotice } from "./notices.js";
import { OrderPage } from "./order.js";
import { Overview } from "./overview.js";
import { listUrl, orderUrl, OVERVIEW, routeOf } from "./routes.js";

const REFRESH_MS = 5_000; // orders can change while the counts stay the same
const VIEW_IDS = { overview: "overview", list: "listing", order: "order" };

const byId = (id) => document.getElementById(id);

/** The views. Call `setCounts` with each metrics event of the server. `onView` is called when another view is shown. */
export class Orders {
  #api;
  #onView;
  #views;
  #shown = null;
  #leftOrder = null;
  #back = OVERVIEW;
  #isFocusDue = false;
  #counts = "";
  #shownCounts = "";
  #shownAt = 0;
  #retryAt = 0;
  #isRefreshing = false;
  #isPaused = false;
  #actedOn = new Set();

  constructor(api, { onView }) {
    this.#api = api;
    this.#onView = onView;
    const onLeave = () => this.#refreshNow();
    const actions = new Actions(api, { onOrder: (...given) => this.#update(...given), onDone: onLeave });
    const parts = { api, actions, onLeave };
    this.#views = { overview: new Overview(parts), list: new Listing(parts), order: new OrderPage(parts) };
    byId("find").addEventListener("submit", (event) => this.#find(event));
    byId("pause").addEventListener("click", () => this.#pause());
    document.addEventListener("visibilitychange", () => this.#refresh());
    addEventListener("hashchange", () => this.#open());
    document.querySelector(".skip").addEventListener("click", (event) => {
      event.preventDefault(); // its URL is none of a view
      byId("lists").focus();
    });
    this.#open();
  }

  /** The title of the view; empty for the overview. */
  get title() {
    return this.#view.title;
  }

  /** Refreshes the view if the counts have changed, or if REFRESH_MS have passed. */
  setCounts(counts, failedCount) {
    this.#counts = counts;
    this.#views.overview.setFailedCount(failedCount);
    if (this.#shown.view === "order") this.#view.tick();
    this.#refresh();
  }

  /** Makes the next `setCounts` refresh the view, even if the counts have not changed. */
  invalidate() {
    this.#shownCounts = null;
  }

  get #view() {
    return this.#views[this.#shown.view];
  }

  /** Shows the view that the URL names. */
  #open() {
    const before = this.#shown;
    const route = routeOf(location.hash);
    this.#shown = route;
    this.#leftOrder = before?.view === "order" ? before.id : null;
    if (before && before.view !== "order") this.#back = before.view === "list" ? listUrl(before.filters) : OVERVIEW;
    document.body.dataset.view = route.view;
    for (const name of Object.keys(this.#views)) byId(VIEW_IDS[name]).hidden = name !== route.view;
    if (route.view === "list") this.#view.open(route.filters);
    if (route.view === "order") this.#view.open({ id: route.id, back: this.#back });
    const url = route.view === "list" ? listUrl({ ...route.filters, cursor: null }) : null;
    for (const link of document.querySelectorAll(".tiles a")) {
      if (link.hash === url) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (!before) return;
    this.#isFocusDue = true;
    this.#retryAt = 0;
    byId("behind").textContent = "";
    showNotice("");
    this.#onView();
    this.#refreshNow();
  }

  #refreshNow() {
    this.invalidate();
    this.#refresh();
  }

  /** Fetches what the view shows, if that is due. A change of the view during a refresh causes another refresh. */
  async #refresh() {
    const isDue = this.#counts !== this.#shownCounts || Date.now() - this.#shownAt > REFRESH_MS;
    const isHeld = (this.#isPaused && !this.#isFocusDue) || document.hidden || Date.now() < this.#retryAt;
    if (!isDue || this.#isRefreshing || isHeld) return;
    this.#isRefreshing = true;
    const counts = this.#counts;
    const shown = this.#shown;
    this.#shownCounts = counts;
    try {
      await this.#view.refresh();
      for (const id of this.#actedOn) this.#update(await this.#api.get(`order/${id}`));
      this.#shownAt = Date.now();
      byId("behind").textContent = "";
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (shown === this.#shown) this.#showFailure(problem);
    } finally {
      this.#isRefreshing = false;
      if (shown === this.#shown) this.#focusView();
      else this.#refreshNow();
    }
  }

  /** Shows why a refresh failed. Later, `setCounts` tries again, unless the URL has an invalid filter. */
  #showFailure(problem) {
    this.invalidate();
    byId("behind").textContent = `What is shown is not up to date. ${problem.message}`;
    this.#retryAt = problem.status === 422 ? Infinity : Date.now() + (problem.retryAfterS || 1) * 1_000;
  }

  /** After the user has followed a link: focuses the new view. After a return from an order: focuses its row. */
  #focusView() {
    if (!this.#isFocusDue) return;
    this.#isFocusDue = false;
    if (!document.querySelector("dialog[open]")) this.#view.focus(this.#leftOrder);
  }

  /** Shows the new state of an order. `isFollowed` is whether to fetch the order until it is processed. */
  #update(order, isFollowed = this.#actedOn.has(order.order_id.rawJSON)) {
    const id = order.order_id.rawJSON;
    const isMoving = order.status === "Processing" || (order.status === "Pending" && order.next_attempt_at === null);
    if (isFollowed && isMoving) this.#actedOn.add(id);
    else this.#actedOn.delete(id);
    for (const view of Object.values(this.#views)) view.update(order);
  }

  #find(event) {
    event.preventDefault();
    const id = idOf(byId("find-number").value);
    if (id) location.hash = byId("find-what").value === "order" ? orderUrl(id) : listUrl({ user_id: id });
  }

  #pause() {
    this.#isPaused = !this.#isPaused;
    byId("pause").setAttribute("aria-pressed", String(this.#isPaused));
    this.#refresh();
  }
}
