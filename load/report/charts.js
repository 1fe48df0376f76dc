// Draws the charts with plotly.js out of the page's own numbers, for the screen and for paper.

"use strict";

(() => {
  const HEIGHT = 250;
  // Half a sheet of A4 or Letter, within the margins and the card.
  const PAPER_WIDTH = 310;
  const FEW_POINTS = 40;
  const FONT = "system-ui, sans-serif";
  // How far the largest value stands behind the last percentile that has a place of its own, in powers of ten.
  const LAST_STEP = 0.75;
  const LARGEST = 100;
  const FLAT = 30;
  const PERCENTILES = [0, 50, 90, 99, 99.9, 99.99, 99.999, 99.9999, 99.99999];

  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paper = matchMedia("print");
  const charts = { throughput, latency, percentiles, backlog };

  /** The rule of numbers.py: three significant digits, but never fewer than there are before the point. */
  function measured(value) {
    if (value === 0) return "0";
    const decimals = Math.min(Math.max(2 - Math.floor(Math.log10(Math.abs(value))), 0), 6);
    return value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  }

  function line(x, y, { color, fill, text }) {
    const few = y.length <= FEW_POINTS;
    const isKnown = (index) => y[index] !== null && y[index] !== undefined;
    // A point without neighbours has no line that would show it.
    const size = y.map((_, index) => (few || !(isKnown(index - 1) || isKnown(index + 1)) ? 5 : 0));
    return {
      type: "scatter",
      mode: "lines+markers",
      cliponaxis: false,
      x,
      y,
      line: { color, width: 2 },
      marker: { color, size, line: { width: 0 } },
      fill: fill ? "tozeroy" : "none",
      fillcolor: fill,
      customdata: x.map((each, index) => text(each, y[index])),
      hovertemplate: "%{customdata}<extra></extra>",
    };
  }

  /** Values too far apart for a line between them to be true. */
  function points(x, y, { color, text }) {
    return { ...line(x, y, { color, text }), mode: "markers", marker: { color, size: 8, symbol: "diamond" } };
  }

  const highest = (...lists) => Math.max(0, ...lists.flat().filter((value) => value !== null)) * 1.08 || 1;

  /** An axis from zero; where that would press the smaller values flat, as a stall does, a logarithmic one. */
  function milliseconds(...lists) {
    const values = lists.flat().filter((value) => value > 0);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    if (!(most / least > FLAT)) return { title: { text: "ms" }, range: [0, highest(values)] };
    const range = [Math.log10(least / 1.3), Math.log10(most * 1.3)];
    return { title: { text: "ms, logarithmic" }, type: "log", dtick: 1, range };
  }

  function time(of) {
    const { interval_s: interval, start_s: starts } = data.timeline;
    const end = (starts.at(-1) ?? 0) + interval || 1;
    return {
      middles: starts.map((start) => start + interval / 2),
      axis: { title: { text: "time since the first request (s)" }, range: [0, end] },
      shapes: data.warm_up_s
        ? [{ type: "rect", x0: 0, x1: Math.min(data.warm_up_s, end), yref: "paper", y0: 0, y1: 1, line: { width: 0 }, fillcolor: of("--line"), opacity: 0.4, layer: "below" }]
        : [],
    };
  }

  function throughput(of) {
    const { middles, axis, shapes } = time(of);
    const counts = data.timeline.orders_per_second;
    const due = data.due_per_second;
    const rate = due ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: due, y1: due, line: { color: of("--muted"), width: 1.5, dash: "dash" } }] : [];
    return {
      traces: [line(middles, counts, { color: of("--blue"), fill: `${of("--blue")}22`, text: (x, y) => `${measured(y)} orders/s at ${measured(x)} s` })],
      x: axis,
      y: { title: { text: "orders/s" }, range: [0, highest(counts, due ?? 0)] },
      shapes: [...shapes, ...rate],
    };
  }

  function latency(of) {
    const { middles, axis, shapes } = time(of);
    const { latency_p50_ms: p50, latency_p99_ms: p99 } = data.timeline;
    const text = (name) => (x, y) => (y === null ? "" : `${name}: ${measured(y)} ms at ${measured(x)} s`);
    return {
      traces: [
        line(middles, p99, { color: of("--orange"), text: text("p99") }),
        line(middles, p50, { color: of("--blue"), text: text("p50") }),
      ],
      x: axis,
      y: milliseconds(p50, p99),
      shapes,
    };
  }

  /** Log of 1/(1-p): each nine has the same room. The largest value, which would be at infinity, stands at the end. */
  function percentiles(of) {
    const { percentile, latency_ms: values } = data.percentiles;
    const place = (each) => -Math.log10(1 - each / 100);
    const last = Math.max(0, ...percentile.filter((each) => each < LARGEST).map(place));
    const end = last + LAST_STEP;
    const places = (list) => list.map((each) => (each < LARGEST ? place(each) : end));
    const ticks = PERCENTILES.filter((each) => place(each) <= last + 1e-6);
    const hasLargest = percentile.includes(LARGEST);
    const label = (each) => (each < LARGEST ? `p${each}` : "max");
    const hover = (name, list) => (x, y) => `${name}${label(list[places(list).indexOf(x)])}: ${measured(y)} ms`;
    const sent = data.sending.map(([each]) => each);
    const sentValues = data.sending.map(([, value]) => value);
    return {
      traces: [
        line(places(percentile), values, { color: of("--blue"), text: hover(sent.length ? "from due, " : "", percentile) }),
        ...(sent.length ? [points(places(sent), sentValues, { color: of("--muted"), text: hover("from sending, ", sent) })] : []),
      ],
      x: {
        title: { text: "percentile (%)" },
        range: [-0.03, (hasLargest ? end : last || 1) + 0.05],
        tickvals: [...ticks.map(place), ...(hasLargest ? [end] : [])],
        ticktext: [...ticks.map(String), ...(hasLargest ? ["max"] : [])],
      },
      y: milliseconds(values, sentValues),
      shapes: [],
    };
  }

  function backlog(of) {
    const { time_s: times, waiting } = data.backlog;
    const sent = (data.timeline.start_s.at(-1) ?? 0) + data.timeline.interval_s;
    const end = Math.max(times.at(-1) ?? 0, sent) || 1;
    return {
      traces: [line(times, waiting, { color: of("--blue"), fill: `${of("--blue")}22`, text: (x, y) => `${y.toLocaleString("en-US")} orders at ${measured(x)} s` })],
      x: { title: { text: "time since the first request (s)" }, range: [0, end] },
      y: { title: { text: "orders" }, range: [0, highest(waiting)], ...(highest(waiting) < 5 ? { dtick: 1 } : {}) },
      shapes: [],
    };
  }

  function layout(of, { x, y, shapes }, width) {
    const axis = (own) => ({
      gridcolor: of("--line-faint"),
      linecolor: of("--line"),
      tickcolor: of("--line"),
      fixedrange: true,
      zeroline: false,
      tickformat: ",~f",
      ...own,
      title: { standoff: 8, font: { size: 12 }, ...own.title },
    });
    return {
      height: HEIGHT,
      ...(width ? { width } : { autosize: true }),
      margin: { l: 54, r: 14, t: 12, b: 44 },
      showlegend: false,
      dragmode: false,
      hovermode: "closest",
      hoverlabel: { bgcolor: of("--surface"), bordercolor: of("--line"), font: { family: FONT, color: of("--text") } },
      paper_bgcolor: "transparent",
      plot_bgcolor: "transparent",
      font: { family: FONT, size: 12, color: of("--muted") },
      xaxis: axis({ showgrid: false, showline: true, ticks: "outside", ticklen: 4, nticks: 8, tickangle: 0, ...x }),
      yaxis: axis({ nticks: 6, automargin: true, ...y }),
      shapes,
    };
  }

  function draw(isOnPaper) {
    document.documentElement.classList.toggle("printing", isOnPaper);
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    for (const [name, make] of Object.entries(charts)) {
      const plot = document.querySelector(`#${name} .plot`);
      if (!plot) continue;
      const chart = make(of);
      Plotly.react(plot, chart.traces, layout(of, chart, isOnPaper ? PAPER_WIDTH : null), { displayModeBar: false, responsive: !isOnPaper });
    }
  }

  draw(paper.matches);
  dark.addEventListener("change", () => draw(paper.matches));
  paper.addEventListener("change", () => draw(paper.matches));
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw(false));
})();
