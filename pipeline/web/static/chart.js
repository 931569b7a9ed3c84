// Charts over time, drawn as SVG at the width they have. A chart is read in four ways: by eye, by
// pointer, with the arrow keys (it is a slider over its steps) and as a table.

import { each, el, setAttributes, setText, svg } from "./dom.js";
import { moment } from "./format.js";

const HOUR = 3_600_000;
const TICK_HOURS = [0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 96, 168];
const TICK_WIDTH = 56; // pixels a label of the time axis takes
const LINES = 4; // at most so many lines of the value axis
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/**
 * A chart; `draw(model)` shows a model:
 *
 *   label   what it shows, for who cannot see it
 *   steps   [{ from, to }] in ms, oldest first
 *   series  [{ name, kind, look, values, low, high, format }], values one a step, `null` where none
 *           kind: `line`, `band` (low to high), `bars` (those beyond `usual` stand out), `steps` (a
 *           level a step) or `none` (told, not drawn)
 *           look: class of its marks
 *   floor, ceiling  the value axis reaches at least so far
 *   spans   [{ from, to, look }] shaded times
 *   marks   [{ at, name, look }] moments
 *   axis    format of the value axis; none in small charts
 */
export function chart({ height = 180, small = false } = {}) {
  const drawing = svg("svg", { "aria-hidden": "true", height });
  const bubble = el("div", { class: "bubble", hidden: "" });
  const plot = el("div", { class: "plot", role: "slider", tabindex: "0" }, drawing, bubble);
  const table = el("table");
  const details = el(
    "details",
    { class: "as-table" },
    el("summary", {}, "As a table"),
    el("div", { class: "scroll", tabindex: "0", role: "region" }, table),
  );
  const node = el("div", { class: small ? "chart small" : "chart" }, plot, ...(small ? [] : [details]));
  let model = null;
  let width = 0;
  let at = null; // the step pointed at

  function redraw() {
    if (!model || !width) return;
    paint(drawing, model, width, height, small, at);
    tell();
    if (details.open) fill(table, model);
  }

  function tell() {
    const last = model.steps.length - 1;
    const here = Math.min(at ?? last, last);
    setAttributes(plot, {
      "aria-label": model.label,
      "aria-valuemin": 0,
      "aria-valuemax": Math.max(0, last),
      "aria-valuenow": Math.max(0, here),
      "aria-valuetext": here < 0 ? "nothing yet" : reading(model, here).join(", "),
    });
    setAttributes(details.lastChild, { "aria-label": model.label });
    bubble.hidden = at === null || last < 0;
    if (bubble.hidden) return;
    each(bubble, reading(model, here).map((words, n) => [n, words]), ([n]) => n, () => el("p"), (line, [, words]) =>
      setText(line, words),
    );
    const frame = frameOf(model, width, height, small);
    const x = frame.x((model.steps[here].from + model.steps[here].to) / 2);
    bubble.classList.toggle("left", x > width / 2);
    bubble.style.left = `${x}px`;
  }

  function point(step) {
    const last = (model?.steps.length ?? 0) - 1;
    at = step === null || last < 0 ? null : Math.max(0, Math.min(last, step));
    redraw();
  }

  plot.addEventListener("pointermove", (event) => {
    if (!model?.steps.length) return;
    const frame = frameOf(model, width, height, small);
    const time = frame.time(event.clientX - plot.getBoundingClientRect().left);
    const found = model.steps.findIndex((step) => time < step.to);
    point(found < 0 ? model.steps.length - 1 : found);
  });
  plot.addEventListener("pointerleave", () => point(null));
  plot.addEventListener("blur", () => point(null));
  plot.addEventListener("keydown", (event) => {
    const last = (model?.steps.length ?? 0) - 1;
    const here = at ?? last;
    const to = {
      ArrowLeft: here - 1,
      ArrowDown: here - 1,
      ArrowRight: here + 1,
      ArrowUp: here + 1,
      PageDown: here - 24,
      PageUp: here + 24,
      Home: 0,
      End: last,
      Escape: null,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    point(to);
  });
  details.addEventListener("toggle", redraw);
  new ResizeObserver(([entry]) => {
    width = Math.floor(entry.contentRect.width);
    redraw();
  }).observe(plot);

  return {
    node,
    draw(next) {
      model = next;
      redraw();
    },
  };
}

/** What a step says, line by line. */
function reading(model, step) {
  const { from } = model.steps[step];
  return [
    moment(from),
    ...model.series
      .filter((series) => series.kind !== "band" && series.values[step] !== null)
      .map((series) => `${series.name} ${series.format(series.values[step], step)}`),
  ];
}

/** Where things are: functions from times and values to pixels. */
function frameOf(model, width, height, small) {
  const left = small ? 0 : 40;
  const right = width - (small ? 0 : 8);
  const top = 6;
  const bottom = height - 20;
  const start = model.steps[0].from;
  const end = model.steps.at(-1).to;
  const values = drawn(model).flatMap((series) =>
    series.kind === "band" ? [...series.low, ...series.high] : series.values,
  );
  const known = values.filter((value) => value !== null && value !== undefined);
  let low = Math.min(model.floor ?? 0, ...known);
  let high = Math.max(model.ceiling ?? 1, ...known);
  const grid = nice((high - low) / (small ? 2 : LINES));
  if (small) high = Math.ceil(high);
  else {
    low = Math.floor(low / grid) * grid;
    high = Math.ceil(high / grid) * grid;
  }
  return {
    left, right, top, bottom, start, end, low, high, grid,
    x: (time) => round(left + ((time - start) / (end - start)) * (right - left)),
    y: (value) => round(bottom - ((value - low) / (high - low)) * (bottom - top)),
    time: (x) => start + ((x - left) / (right - left)) * (end - start),
  };
}

function paint(drawing, model, width, height, small, at) {
  setAttributes(drawing, { viewBox: `0 0 ${width} ${height}`, width });
  if (!model.steps.length) {
    drawing.replaceChildren();
    return;
  }
  const frame = frameOf(model, width, height, small);
  const { x, y, left, right, top, bottom } = frame;
  const nodes = [];
  for (const span of model.spans ?? []) {
    const from = Math.max(left, x(span.from));
    const to = Math.min(right, x(span.to));
    if (to >= left && from <= right) {
      nodes.push(svg("rect", { class: `span ${span.look}`, x: from, y: top, width: round(Math.max(2, to - from)), height: bottom - top }));
    }
  }
  if (!small) {
    for (let value = frame.low; value <= frame.high + frame.grid / 2; value += frame.grid) {
      nodes.push(svg("line", { class: Math.abs(value) < frame.grid / 2 ? "zero" : "grid", x1: left, x2: right, y1: y(value), y2: y(value) }));
      nodes.push(svg("text", { class: "axis value", x: left - 6, y: y(value) + 4 }, model.axis(Math.round(value * 1e6) / 1e6)));
    }
  } else {
    nodes.push(svg("line", { class: "zero", x1: left, x2: right, y1: bottom, y2: bottom }));
    nodes.push(svg("line", { class: "grid", x1: left, x2: right, y1: top, y2: top }));
  }
  nodes.push(...timeAxis(frame, small));
  for (const series of drawn(model)) nodes.push(...draw(series, model.steps, frame));
  // Over the marks: each small chart has a scale of its own.
  if (small) nodes.push(svg("text", { class: "axis top", x: left + 1, y: top + 11 }, String(frame.high)));
  for (const mark of model.marks ?? []) {
    if (mark.at < frame.start || mark.at > frame.end) continue;
    nodes.push(svg("line", { class: `mark ${mark.look}`, x1: x(mark.at), x2: x(mark.at), y1: top, y2: bottom }));
    nodes.push(svg("circle", { class: `mark ${mark.look}`, cx: x(mark.at), cy: top + 1, r: 3.5 }));
  }
  if (at !== null && at < model.steps.length) {
    const middle = x((model.steps[at].from + model.steps[at].to) / 2);
    nodes.push(svg("line", { class: "pointed", x1: middle, x2: middle, y1: top, y2: bottom }));
  }
  drawing.replaceChildren(...nodes);
}

const drawn = (model) => model.series.filter((series) => series.kind !== "none");

function timeAxis(frame, small) {
  const { x, bottom, left, right } = frame;
  const most = Math.max(2, Math.floor((right - left) / TICK_WIDTH));
  const hours = (frame.end - frame.start) / HOUR;
  const fits = (each) => hours / each <= most && (hours < 72 || each >= 24);
  const step = TICK_HOURS.find(fits) ?? 336;
  const nodes = [];
  const tick = new Date(frame.start);
  tick.setHours(0, 0, 0, 0);
  while (tick.getTime() <= frame.end) {
    const at = tick.getTime();
    const place = x(at);
    if (at >= frame.start && place > left + 14 && place < right - 18) {
      const midnight = tick.getHours() === 0 && tick.getMinutes() === 0;
      const words = midnight ? (step >= 48 ? date : day).format(tick) : clock.format(tick);
      if (!small) nodes.push(svg("line", { class: "grid tick", x1: place, x2: place, y1: bottom, y2: bottom + 4 }));
      nodes.push(svg("text", { class: "axis time", x: place, y: bottom + 15 }, words));
    }
    // By the clock on the wall, so that midnight stays midnight when the clocks change.
    if (step >= 24) tick.setDate(tick.getDate() + step / 24);
    else tick.setMinutes(tick.getMinutes() + step * 60);
  }
  return nodes;
}

function draw(series, steps, { x, y, low }) {
  const { kind, look, values } = series;
  const middle = ({ from, to }) => x((from + to) / 2);
  if (kind === "line") {
    return [
      svg("path", { class: `line ${look}`, d: path(values, (v, n) => `${middle(steps[n])} ${y(v)}`) }),
      // A value with none beside it is no line yet.
      ...values.flatMap((v, n) =>
        v !== null && (values[n - 1] ?? null) === null && (values[n + 1] ?? null) === null
          ? [svg("circle", { class: `dot ${look}`, cx: middle(steps[n]), cy: y(v), r: 2.5 })]
          : [],
      ),
    ];
  }
  if (kind === "band") {
    const runs = [];
    series.low.forEach((v, n) => {
      if (v === null) return;
      if (n === 0 || series.low[n - 1] === null) runs.push([]);
      runs.at(-1).push(n);
    });
    return runs.map((run) =>
      svg("path", {
        class: `band ${look}`,
        d:
          `M${run.map((n) => `${middle(steps[n])} ${y(series.high[n])}`).join("L")}` +
          `L${run.toReversed().map((n) => `${middle(steps[n])} ${y(series.low[n])}`).join("L")}Z`,
      }),
    );
  }
  if (kind === "bars") {
    return values.flatMap((value, n) => {
      if (!value) return [];
      const from = x(steps[n].from);
      const room = x(steps[n].to) - from;
      const gap = room > 4 ? 1 : 0;
      const usual = Math.min(value, series.usual?.[n] ?? value);
      const bar = (look, low, high) =>
        svg("rect", { class: `bar ${look}`, x: from + gap / 2, width: round(Math.max(1, room - gap)), y: y(high), height: round(y(low) - y(high)) });
      // What is beyond the usual stands out.
      return [bar(look, low, usual), ...(value > usual ? [bar(`${look} beyond`, usual, value)] : [])];
    });
  }
  let level = "";
  values.forEach((value, n) => {
    if (value === null) return;
    const joined = n > 0 && values[n - 1] !== null;
    level += `${joined ? "L" : "M"}${x(steps[n].from)} ${y(value)}H${x(steps[n].to)}`;
  });
  return [svg("path", { class: `line level ${look}`, d: level })];
}

function path(values, place) {
  return values
    .map((value, n) => (value === null ? "" : `${n && values[n - 1] !== null ? "L" : "M"}${place(value, n)}`))
    .join("");
}

/** The model as a table, newest first. */
function fill(table, model) {
  const columns = model.series.filter((series) => series.kind !== "band");
  const head = el("tr", {}, el("th", { scope: "col" }, "From"), ...columns.map((series) => el("th", { scope: "col" }, series.name)));
  const rows = model.steps.map((step, n) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, moment(step.from)),
      ...columns.map((series) => el("td", {}, series.values[n] === null ? "–" : series.format(series.values[n], n))),
    ),
  );
  table.replaceChildren(el("caption", { class: "unseen" }, model.label), el("thead", {}, head), el("tbody", {}, ...rows.toReversed()));
}

/** A step of 1, 2 or 5 times a power of ten, at least `least`. */
function nice(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((each) => each * power >= least);
}

const round = (n) => Math.round(n * 10) / 10;
