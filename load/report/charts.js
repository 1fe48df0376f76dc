// Computes the lines and axes of the charts, and the texts of their points, from the data in the page. plot.js draws them.

"use strict";

(() => {
  // In pixels: half the width of A4 or Letter paper, without margins and padding.
  const PAPER_WIDTH = 310;
  // Distance between the last percentile and the maximum on the x axis, in powers of ten.
  const LAST_STEP = 0.75;
  const LARGEST = 100;
  const LARGEST_LINEAR_RATIO = 30;
  const PERCENTILES = [0, 50, 90, 99, 99.9, 99.99, 99.999, 99.9999, 99.99999];
  const TIME = "time since the first request (s)";

  const data = JSON.parse(document.getElementById("data").textContent);
  const paper = matchMedia("print");
  const charts = { throughput, latency, percentiles, backlog };

  /** Formats like `measured` in page.py: three significant digits, or all digits of the whole part. */
  function measured(value) {
    if (value === 0) return "0";
    const decimals = Math.min(Math.max(2 - Math.floor(Math.log10(Math.abs(value))), 0), 6);
    return value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  }

  const pairs = (xs, ys) => xs.map((x, index) => [x, ys[index]]);

  const highest = (...lists) => Math.max(0, ...lists.flat().filter((value) => value !== null)) * 1.08 || 1;

  /** Returns an axis from zero, or a logarithmic axis if the values differ so much that small ones would be unreadable. */
  function milliseconds(...lists) {
    const values = lists.flat().filter((value) => value > 0);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    if (!(most / least > LARGEST_LINEAR_RATIO)) return { title: "ms", range: [0, highest(values)] };
    return { title: "ms, logarithmic", range: [least / 1.3, most * 1.3], isLogarithmic: true };
  }

  function timeline() {
    const { interval_s: interval, start_s: starts } = data.timeline;
    const end = (starts.at(-1) ?? 0) + interval || 1;
    return {
      middles: starts.map((start) => start + interval / 2),
      x: { title: TIME, range: [0, end] },
    };
  }

  function throughput() {
    const { middles, x } = timeline();
    const counts = data.timeline.orders_per_second;
    const due = data.due_per_second || null;
    const textOf = (time, count) => `${measured(count)} orders/s at ${measured(time)} s`;
    return {
      lines: [{ look: "blue", points: pairs(middles, counts), isFilled: true, textOf }],
      x,
      y: { title: "orders/s", range: [0, highest(counts, due ?? 0)] },
      rule: due,
    };
  }

  function latency() {
    const { middles, x } = timeline();
    const { latency_p50_ms: p50, latency_p99_ms: p99 } = data.timeline;
    const textOf = (name) => (time, value) => `${name}: ${measured(value)} ms at ${measured(time)} s`;
    return {
      lines: [
        { look: "orange", points: pairs(middles, p99), textOf: textOf("p99") },
        { look: "blue", points: pairs(middles, p50), textOf: textOf("p50") },
      ],
      x,
      y: milliseconds(p50, p99),
      rule: null,
    };
  }

  /** The x axis is log10 of 1/(1-p), so that 90, 99 and 99.9 are equally far apart. The maximum is drawn at the end. */
  function percentiles() {
    const { percentile, latency_ms: values } = data.percentiles;
    const place = (each) => -Math.log10(1 - each / 100);
    const last = Math.max(0, ...percentile.filter((each) => each < LARGEST).map(place));
    const end = last + LAST_STEP;
    const places = (list) => list.map((each) => (each < LARGEST ? place(each) : end));
    const hasLargest = percentile.includes(LARGEST);
    const ticks = PERCENTILES.filter((each) => place(each) <= last + 1e-6).map((each) => ({ at: place(each), text: String(each) }));
    const label = (each) => (each < LARGEST ? `p${each}` : "max");
    const textOf = (name, list) => (at, value) => `${name}${label(list[places(list).indexOf(at)])}: ${measured(value)} ms`;
    const sent = data.sending.map(([each]) => each);
    const sentValues = data.sending.map(([, value]) => value);
    const fromDue = { look: "blue", points: pairs(places(percentile), values), textOf: textOf(sent.length ? "from due, " : "", percentile) };
    const fromSending = { look: "sending", points: pairs(places(sent), sentValues), isScattered: true, textOf: textOf("from sending, ", sent) };
    return {
      lines: sent.length ? [fromDue, fromSending] : [fromDue],
      x: {
        title: "percentile (%)",
        range: [-0.03, (hasLargest ? end : last || 1) + 0.05],
        ticks: hasLargest ? [...ticks, { at: end, text: "max" }] : ticks,
      },
      y: milliseconds(values, sentValues),
      rule: null,
    };
  }

  function backlog() {
    const { time_s: times, waiting } = data.backlog;
    const sent = (data.timeline.start_s.at(-1) ?? 0) + data.timeline.interval_s;
    const end = Math.max(times.at(-1) ?? 0, sent) || 1;
    const textOf = (time, count) => `${count.toLocaleString("en-US")} orders at ${measured(time)} s`;
    return {
      lines: [{ look: "blue", points: pairs(times, waiting), isFilled: true, textOf }],
      x: { title: TIME, range: [0, end] },
      y: { title: "orders", range: [0, highest(waiting)], step: 1 },
      rule: null,
    };
  }

  function draw(isOnPaper) {
    for (const [name, chartOf] of Object.entries(charts)) {
      const plot = document.querySelector(`#${name} .plot`);
      if (plot) drawPlot(plot, chartOf(), isOnPaper ? PAPER_WIDTH : plot.clientWidth);
    }
  }

  draw(paper.matches);
  paper.addEventListener("change", () => draw(paper.matches));
  addEventListener("resize", () => draw(paper.matches));
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw(false));
})();
