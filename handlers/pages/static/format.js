// Formats numbers, times and durations. Pure functions.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 6 });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const minute = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" });
const dayOfMonth = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** A count: 1,234,567. */
export const count = (number) => whole.format(number);

/** A measured number: whole from 100 on, three significant digits below. */
export const figure = (number) => (Math.abs(number) >= 100 ? whole : short).format(number);

/** A number on an axis that ends at `top`. If `top` is 10,000 or more, k and M shorten numbers: 500, 12.5k, 2M. */
export function axisNumber(number, top) {
  if (top < 10_000 || number < 1_000) return plain.format(number);
  return number < 1_000_000 ? `${plain.format(number / 1_000)}k` : `${plain.format(number / 1_000_000)}M`;
}

/** An amount: 1,234.5. `rawJSON` has the number without rounding. */
export const amount = ({ rawJSON }) => rawJSON.replace(/^\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ","));

/** A measured duration: milliseconds below a second. */
export const precise = (seconds) => (seconds < 1 ? `${whole.format(seconds * 1_000)} ms` : duration(seconds));

/** Seconds in their two largest units: 0.25 s, 12 s, 3 min 5 s, 2 h 10 min, 4 d 3 h. */
export function duration(seconds) {
  if (seconds < 9.95) return `${short.format(Math.round(seconds * 100) / 100)} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${whole.format(Math.floor(s / 86400))} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** A Date as the time of day. */
export const timeOfDay = (date) => clock.format(date);

/** A Date as the time of day without seconds. */
export const hourAndMinute = (date) => minute.format(date);

/** A Date as the day without the year: 1 Mar. */
export const dayAndMonth = (date) => dayOfMonth.format(date);

/** A Date as the time in the user's time zone, with the day unless it is today. */
export function moment(date) {
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
}

/** The Date of a text such as "2025-03-01 12:00:00", as the server sends it, in UTC. */
export const dateOf = (text) => new Date(`${text.replace(" ", "T")}Z`);

/** A Date as the value of an input of the type datetime-local, in the user's time zone. */
export function localValue(date) {
  const local = new Date(date - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}
