// The lists of the overview: failed orders and the latest orders.

import { orders } from "./actions.js";
import { OrderList } from "./list.js";
import { listUrl } from "./routes.js";

const LATEST = 10;
const FAILED = 10;
const FAILED_ON_A_PHONE = 3;
const isPhone = matchMedia("(max-width: 40rem)");

/** The two lists. On a phone, failed orders come before everything else. */
export class Overview {
  #api;
  #failed;
  #latest;
  #retry;
  #failedCount = 0;

  title = "";

  constructor({ api, actions, onLeave }) {
    this.#api = api;
    const onAct = (...given) => actions.act(...given);
    const listOf = (title, empty, load) => new OrderList({ title, empty, load, onAct, onLeave });
    this.#failed = listOf("Failed", "No order has failed.", () => {
      return this.#orders("status=Failed&", isPhone.matches ? FAILED_ON_A_PHONE : FAILED);
    });
    this.#latest = listOf("Latest", "There is no order yet. POST /order takes the first one.", () => {
      return this.#orders("", LATEST);
    });
    this.#retry = document.getElementById("retry-all-template").content.cloneNode(true).firstElementChild;
    this.#retry.addEventListener("click", () => {
      actions.retryMatching({ status: "Failed" }, orders(this.#failedCount, "failed"), this.#retry);
    });
    this.#failed.addToHeading(this.#retry);
    this.#failed.addToHeading(link("All failed orders", { status: "Failed" }));
    this.#latest.addToHeading(link("All orders", {}));
    this.#failed.element.id = "failed";
    document.getElementById("overview").append(this.#failed.element, this.#latest.element);
    isPhone.addEventListener("change", () => this.#place());
    this.setFailedCount(0);
  }

  open() {}

  setFailedCount(number) {
    this.#failedCount = number;
    if (number === 0 && document.activeElement === this.#retry) this.#failed.focus();
    this.#retry.hidden = number === 0;
    this.#place();
  }

  focus(id) {
    ([this.#failed, this.#latest].find((list) => list.has(id)) ?? this.#failed).focus(id);
  }

  async refresh() {
    for (const list of [this.#failed, this.#latest]) await list.refresh();
  }

  update(order) {
    for (const list of [this.#failed, this.#latest]) list.update(order);
  }

  /** Moves the element, because the keyboard and screen readers follow the sequence of the elements. */
  #place() {
    const { element } = this.#failed;
    const isFirst = isPhone.matches && this.#failedCount > 0;
    const place = document.getElementById(isFirst ? "figures" : "overview");
    if (element.parentNode !== place && !element.contains(document.activeElement)) place.prepend(element);
  }

  async #orders(query, limit) {
    return (await this.#api.get(`orders?${query}limit=${limit}`)).orders;
  }
}

function link(text, filters) {
  const element = document.createElement("a");
  element.textContent = text;
  element.href = listUrl(filters);
  return element;
}
