// The times that a time axis shows, in the user's time zone. Pure functions.

import { dayAndMonth, hourAndMinute, timeOfDay } from "./format.js";

const MINUTE_S = 60;
const HOUR_S = 3_600;
const DAY_S = 86_400;
const STEPS_S = [
  ...[5, 10, 15, 30],
  ...[1, 2, 5, 10, 15, 30].map((each) => each * MINUTE_S),
  ...[1, 2, 3, 4, 6, 12, 24].map((each) => each * HOUR_S),
];
const LABEL_WIDTH = 56; // of hours and minutes, with the space between two labels
const LONG_LABEL_WIDTH = 76; // with seconds

/**
 * Times from `begin` to `end`, in seconds since 1970, each with its label. The labels fit in an axis of `width` pixels. The
 * times are round in the user's time zone. The label of a midnight is the day.
 */
export function timeMarks(begin, end, width) {
  const fits = (step) => ((end - begin) / step) * (step < MINUTE_S ? LONG_LABEL_WIDTH : LABEL_WIDTH) <= width;
  const step = STEPS_S.find(fits) ?? DAY_S;
  const offset = -MINUTE_S * new Date(end * 1_000).getTimezoneOffset();
  const marks = [];
  for (let local = Math.ceil((begin + offset) / step) * step; local <= end + offset; local += step) {
    const date = new Date((local - offset) * 1_000);
    const isMidnight = local % DAY_S === 0;
    const label = step < MINUTE_S ? timeOfDay(date) : isMidnight ? dayAndMonth(date) : hourAndMinute(date);
    marks.push({ time: local - offset, label });
  }
  return marks;
}
