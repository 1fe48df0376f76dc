// The filters of a list: the form, and the title of the list that they select.

import { localValue, moment } from "./format.js";
import { showNotice } from "./notices.js";
import { readableLine } from "./readable.js";

const HIGHEST_ID = 2n ** 63n - 1n;
const GROUPED = /^\d{1,3}([,'’_\s]\d{3})+$/;
const TIMES = ["created_after", "created_before"];

/** The id that a user has entered, without leading zeros and separators. If it is no id, shows a notice and returns null. */
export function idOf(text) {
  const given = text.trim();
  const digits = GROUPED.test(given) ? given.replace(/\D/g, "") : given;
  if (/^\d{1,19}$/.test(digits) && BigInt(digits) >= 1n && BigInt(digits) <= HIGHEST_ID) return String(BigInt(digits));
  showNotice("An id is a whole number from 1 to 9223372036854775807.", true);
  return null;
}

/** The filter that selects the orders with this error. It has the beginning of a long error, because a URL has a limit. */
export const errorFilter = (error) => /^.{0,200}/su.exec(error)[0];

/** The form with the filters. `onChange` is called with the filters that the user has chosen. */
export class FilterForm {
  #details = document.getElementById("filter");
  #form = this.#details.querySelector("form");

  constructor({ onChange }) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const filters = this.#given();
      if (filters) onChange(filters);
    });
    this.#form.addEventListener("reset", (event) => {
      event.preventDefault();
      onChange({});
    });
  }

  /** Fills in these filters. Opens the form if one of its fields has a value, or if there is space for it. */
  show(filters) {
    for (const [name, value] of Object.entries(filters)) {
      const field = this.#form.elements[name];
      if (!field) continue;
      const date = new Date(value);
      field.value = !TIMES.includes(name) || !value ? value ?? "" : isNaN(date) ? "" : localValue(date);
    }
    const { user_id: userId, error, created_after: after, created_before: before } = filters;
    this.#details.open = Boolean(userId || error || after || before) || matchMedia("(min-width: 40rem)").matches;
  }

  #given() {
    const given = Object.fromEntries(new FormData(this.#form));
    if (given.user_id.trim()) given.user_id = idOf(given.user_id);
    if (given.user_id === null) return null;
    for (const name of TIMES) given[name] = given[name] && new Date(given[name]).toISOString();
    if (given.created_after && given.created_before && given.created_after >= given.created_before) {
      showNotice("“Until” must be later than “From”.", true);
      return null;
    }
    return given;
  }
}

/** The title of the list of the orders that these filters select. */
export function titleOf({ status, user_id: userId, error, created_after: after, created_before: before }) {
  const filters = [];
  if (userId) filters.push(`of user ${userId}`);
  if (error) filters.push(`with “${readableLine(error)}”`);
  if (after) filters.push(`from ${timeOf(after)}`);
  if (before) filters.push(`until ${timeOf(before)}`);
  return [status ? `${status} orders` : filters.length ? "Orders" : "All orders", ...filters].join(" ");
}

/** The time of a filter. A text that is no time is shown as it is; the server then reports the error. */
function timeOf(text) {
  const date = new Date(text);
  return isNaN(date) ? text : moment(date);
}
