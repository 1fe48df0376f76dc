// The checkboxes of a list, and the bar with the actions on all selected orders. The checkboxes hold the selection: an order
// that leaves the list is no longer selected.

import { allows, orders } from "./actions.js";
import { count } from "./format.js";

/** The bar of a list with these rows. `onAct` has the arguments of `Actions.actOnAll`. */
export class Selection {
  #bar = document.getElementById("selection-template").content.cloneNode(true).firstElementChild;
  #all = this.#bar.querySelector("input");
  #state = this.#bar.querySelector("[role=status]");
  #rows;
  #onAct;
  #last = null;
  #progress = "";

  constructor({ list, rows, onAct }) {
    this.#rows = rows;
    this.#onAct = onAct;
    this.#all.addEventListener("change", () => this.#setAll(this.#all.checked));
    list.addEventListener("click", (event) => event.target.matches(".pick input") && this.#picked(event));
    for (const button of this.#bar.querySelectorAll("button")) button.addEventListener("click", () => this.#act(button));
  }

  get element() {
    return this.#bar;
  }

  /** Shows what is selected. To be called when rows have changed. */
  show() {
    const rows = this.#rows();
    const selected = rows.filter(isSelected);
    this.#bar.hidden = rows.length === 0;
    this.#all.checked = rows.length > 0 && selected.length === rows.length;
    this.#all.indeterminate = selected.length > 0 && !this.#all.checked;
    write(this.#bar.querySelector("label span"), `Select all ${count(rows.length)}`);
    write(this.#state, this.#progress || (selected.length ? `${orders(selected.length)} selected` : ""));
    for (const button of this.#bar.querySelectorAll("button")) {
      const number = selected.filter(({ order }) => allows(order, button.dataset.bulk)).length;
      const isFocused = button === document.activeElement;
      write(button, `${button.dataset.text} (${count(number)})`);
      button.hidden = selected.length === 0 || (number === 0 && !this.#progress);
      if (isFocused && button.hidden) this.#all.focus();
    }
  }

  #setAll(isChecked) {
    for (const row of this.#rows()) checkbox(row).checked = isChecked;
    this.show();
  }

  /** Selects a row. With Shift, also the rows between it and the last one that was selected or deselected. */
  #picked({ target, shiftKey }) {
    const rows = [...target.closest("tbody").children];
    const row = target.closest("tr");
    const [from, to] = [rows.indexOf(this.#last), rows.indexOf(row)].sort((a, b) => a - b);
    if (shiftKey && from >= 0) for (const each of rows.slice(from, to + 1)) checkbox(each).checked = target.checked;
    this.#last = row;
    this.show();
  }

  async #act(button) {
    const selected = this.#rows().filter(isSelected).map(({ order }) => order);
    await this.#onAct(selected, button.dataset.bulk, button, {
      onProgress: (text) => {
        this.#progress = text;
        this.show();
      },
      // These orders stay selected.
      onLeft: (orders) => {
        const ids = new Set(orders.map(idOf));
        for (const row of this.#rows()) checkbox(row).checked = ids.has(idOf(row.order));
        this.show();
      },
    });
  }
}

const idOf = (order) => order.order_id.rawJSON;
const checkbox = (row) => row.querySelector(".pick input");
const isSelected = (row) => checkbox(row).checked;

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
