// The URLs of the page: the part after the # says which orders are shown, so a link to others does not load the page again.
// Pure functions.

/** The filters of a list of orders. They are the parameters of GET /orders. */
const FILTERS = ["status", "user_id", "error", "created_after", "created_before", "oldest_first", "cursor"];
const LIST = "#/orders";
const ORDER = "#/order/";

/** The URL of the overview. */
export const OVERVIEW = "#/";

/** The URL of one order. */
export const orderUrl = (id) => `${ORDER}${id}`;

/** The URL of the list of the orders that these filters select. Filters without a value are left out. */
export const listUrl = (filters) => [LIST, queryOf(filters)].filter(Boolean).join("?");

/** The query that sends these filters to the server. */
export const queryOf = (filters) => String(new URLSearchParams(Object.entries(filters).filter(([, value]) => value)));

/**
 * What a URL shows. `view` is `overview`, `list` (with `filters`) or `order` (with the `id`). Every URL that is not one of a
 * list or an order shows the overview.
 */
export function routeOf(hash) {
  if (hash.startsWith(ORDER)) return { view: "order", id: hash.slice(ORDER.length) };
  const [path, query] = hash.split(/\?(.*)/s);
  if (path !== LIST) return { view: "overview" };
  const given = new URLSearchParams(query ?? "");
  return { view: "list", filters: Object.fromEntries(FILTERS.map((name) => [name, given.get(name)])) };
}
