// Draws one chart as SVG, and shows the value under the pointer. Its colours and fonts are in style.css.

"use strict";

const drawPlot = (() => {
  const HEIGHT = 250;
  const MARGIN = { left: 54, right: 14, top: 12, bottom: 44 };
  const DIGIT_WIDTH = 7.5;
  const MOST_STEPS = { x: 8, y: 6 };
  const FEW_POINTS = 40;
  const RADIUS = 2.5;
  const DIAMOND = 5;
  const REACH = 20; // how far the pointer can be from a point, in pixels

  const number = new Intl.NumberFormat("en-US", { maximumFractionDigits: 6 });

  /**
   * Draws into a container with an empty `svg`, `width` pixels wide.
   *
   * `x` and `y` are axes: a title, a range, and optionally `ticks` ([{ at, text }]), the least `step` between ticks,
   * or `isLogarithmic`. `lines` have a `look` (a class of the style sheet), `points` ([x, y or null]), and
   * `textOf(x, y)`; `isFilled` fills the area below, `isScattered` draws unconnected diamonds. `rule`
   * is the y value of a dashed line; it can be null.
   */
  function drawPlot(container, { x, y, lines, rule }, width) {
    const svg = container.querySelector("svg");
    const add = (parent, name, attributes, text) => {
      const element = document.createElementNS(svg.namespaceURI, name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      if (text !== undefined) element.textContent = text;
      parent.append(element);
      return element;
    };
    const yTicks = ticksOf(y, MOST_STEPS.y);
    const longest = Math.max(0, ...yTicks.map(({ text }) => text.length));
    const box = { left: Math.max(MARGIN.left, 30 + longest * DIGIT_WIDTH), right: width - MARGIN.right, top: MARGIN.top, bottom: HEIGHT - MARGIN.bottom };
    const placeX = scale(x, box.left, box.right);
    const placeY = scale(y, box.bottom, box.top);

    svg.replaceChildren();
    svg.setAttribute("width", width);
    svg.setAttribute("height", HEIGHT);
    for (const { at, text } of yTicks) {
      const place = placeY(at);
      add(svg, "line", { class: "grid", x1: box.left, x2: box.right, y1: place, y2: place });
      add(svg, "text", { class: "tick y", x: box.left - 8, y: place + 4 }, text);
    }
    for (const { at, text } of fittingTicks(x, box.right - box.left)) {
      const place = placeX(at);
      add(svg, "line", { class: "axis", x1: place, x2: place, y1: box.bottom, y2: box.bottom + 4 });
      add(svg, "text", { class: "tick", x: place, y: box.bottom + 18 }, text);
    }
    add(svg, "path", { class: "axis", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` });
    add(svg, "text", { class: "title", x: (box.left + box.right) / 2, y: HEIGHT - 6 }, x.title);
    const middle = (box.top + box.bottom) / 2;
    add(svg, "text", { class: "title", x: 14, y: middle, transform: `rotate(-90 14 ${middle})` }, y.title);

    const targets = lines.flatMap((line) => {
      const group = add(svg, "g", { class: `series ${line.look}` });
      const isDrawn = (value) => value !== null && !(y.isLogarithmic && value <= 0);
      const places = line.points.map(([atX, atY]) => (isDrawn(atY) ? [placeX(atX), placeY(atY)] : null));
      if (line.isScattered) {
        for (const [atX, atY] of places.filter(Boolean)) add(group, "path", { class: "point", d: diamond(atX, atY) });
      } else {
        const strokes = connected(places);
        const paths = strokes.map((stroke) => `M${stroke.join("L")}`);
        if (line.isFilled) {
          const ends = strokes.map((stroke) => `V${box.bottom}H${stroke[0][0]}Z`);
          add(group, "path", { class: "area", d: paths.map((path, index) => path + ends[index]).join("") });
        }
        add(group, "path", { class: "line", d: paths.join("") });
        const marked = places.length <= FEW_POINTS ? strokes.flat() : strokes.filter(({ length }) => length === 1).flat();
        for (const [cx, cy] of marked) add(group, "circle", { class: "point", cx, cy, r: RADIUS });
      }
      return places.flatMap((place, index) => (place ? [{ place, text: line.textOf(...line.points[index]) }] : []));
    });
    if (rule !== null) add(svg, "line", { class: "rule", x1: box.left, x2: box.right, y1: placeY(rule), y2: placeY(rule) });
    const cursor = add(svg, "circle", { class: "cursor", r: 2 * RADIUS, visibility: "hidden" });
    followPointer(container, cursor, targets);
  }

  /** Shows the text of the point nearest to the pointer, if one is near. */
  function followPointer(container, cursor, targets) {
    const readout = container.querySelector(".readout");
    const point = ({ type, clientX, clientY }) => {
      const { left, top, width } = container.getBoundingClientRect();
      const distanceTo = ({ place: [x, y] }) => Math.hypot(x - (clientX - left), y - (clientY - top));
      let nearest = null;
      if (type !== "pointerleave") {
        for (const each of targets) if (!nearest || distanceTo(each) < distanceTo(nearest)) nearest = each;
      }
      const isNear = nearest !== null && distanceTo(nearest) <= REACH;
      readout.hidden = !isNear;
      cursor.setAttribute("visibility", isNear ? "visible" : "hidden");
      if (!isNear) return;
      const [x, y] = nearest.place;
      cursor.setAttribute("cx", x);
      cursor.setAttribute("cy", y);
      readout.textContent = nearest.text;
      readout.classList.toggle("left", x > width / 2);
      readout.style.setProperty("--x", `${x}px`);
      readout.style.setProperty("--y", `${y}px`);
    };
    // Set as properties, so that drawing a chart again replaces its listeners.
    Object.assign(container, { onpointermove: point, onpointerdown: point, onpointerleave: point });
  }

  function scale({ range: [from, to], isLogarithmic }, start, end) {
    const measure = isLogarithmic ? Math.log10 : Number;
    return (value) => start + ((end - start) * (measure(value) - measure(from))) / (measure(to) - measure(from));
  }

  function ticksOf({ range: [from, to], ticks, step: least = 0, isLogarithmic }, most) {
    if (ticks) return ticks;
    const found = [];
    if (isLogarithmic) {
      for (let power = Math.ceil(Math.log10(from)); power <= Math.log10(to); power += 1) found.push(10 ** power);
    } else {
      const step = Math.max(least, roundStep((to - from) / most));
      for (let index = Math.ceil(from / step); index * step <= to; index += 1) found.push(index * step);
    }
    return found.map((at) => ({ at, text: number.format(at) }));
  }

  /** Returns as many ticks as fit without overlapping texts. */
  function fittingTicks(axis, width) {
    const isFitting = (ticks) => Math.max(...ticks.map(({ text }) => text.length + 2)) * DIGIT_WIDTH * ticks.length <= width;
    let most = MOST_STEPS.x;
    while (most > 1 && !isFitting(ticksOf(axis, most))) most -= 1;
    return ticksOf(axis, most);
  }

  /** Rounds up to 1, 2 or 5 times a power of ten. */
  function roundStep(least) {
    const power = 10 ** Math.floor(Math.log10(least));
    return power * [1, 2, 5, 10].find((factor) => factor * power >= least);
  }

  /** Divides the places into groups at the missing ones. */
  function connected(places) {
    const strokes = [];
    places.forEach((place, index) => {
      if (!place) return;
      if (!places[index - 1]) strokes.push([]);
      strokes.at(-1).push(place);
    });
    return strokes;
  }

  const diamond = (x, y) => `M${x} ${y - DIAMOND}l${DIAMOND} ${DIAMOND}l${-DIAMOND} ${DIAMOND}l${-DIAMOND} ${-DIAMOND}Z`;

  return drawPlot;
})();
