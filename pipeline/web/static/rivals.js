// Brands side by side: score with interval, voice, gaps, engagement; and how they got there.

import { chart } from "./chart.js";
import { each, el, parts, setAttributes, setText, setWords, svg } from "./dom.js";
import { STAGES, TOUCHPOINTS, WINDOW_NAMES, capital, count, percent, points } from "./format.js";
import { choice, follow, resource } from "./live.js";
import { about, pageOf } from "./story.js";

const $ = (id) => document.getElementById(id);
const LINES = 8; // brands whose course is drawn; more lines than that nobody tells apart
const courses = new Map();
const looks = new Map();
let sorted = { by: null, down: true };

const courseChart = chart({ height: 240 });
$("course").append(courseChart.node);

const redraw = follow(["status", "brands", "alerts"], ({ brands, alerts }) => {
  document.title = "Rivals · Gapwatch";
  const window = chosen();
  setText($("hint"), WINDOW_NAMES[window]);
  $("no-brands").hidden = brands.length > 0;
  $("compare").hidden = brands.length === 0;
  const rows = rowsOf(brands, alerts, window);
  each($("rows"), rows, (row) => row.key, createRow, (node, row) => updateRow(node, row, scaleOf(rows)));
  for (const brand of brands.slice(0, LINES)) {
    if (!looks.has(brand.key)) looks.set(brand.key, lookAt(brand.key));
    looks.get(brand.key)();
  }
  showCourse(brands.slice(0, LINES));
});
const chosen = choice($("windows"), "window", redraw);

function lookAt(key) {
  return resource(
    () => `/api/brands/${encodeURIComponent(key)}/history?hours=168&window=24h`,
    (told) => {
      courses.set(key, told.steps);
      redraw();
    },
    () => {},
  );
}

function rowsOf(brands, alerts, window) {
  const voices = brands.reduce((sum, brand) => sum + (brand.scores[window]?.mentions ?? 0), 0);
  const rows = brands.map((brand) => {
    const score = brand.scores[window];
    const weakest = TOUCHPOINTS.map((name) => ({ name, ...score?.gap_by_touchpoint[name] }))
      .filter((rate) => rate.below > 0)
      .sort((a, b) => b.below * b.mentions - a.below * a.mentions)[0];
    return {
      key: brand.key,
      name: brand.name,
      told: score,
      score: score?.score ?? null,
      mentions: score?.mentions ?? 0,
      voice: voices && score ? score.mentions / voices : 0,
      below: score?.gap.below ?? 0,
      weakest,
      open: alerts.find((alert) => alert.brand === brand.key && alert.status !== "resolved"),
    };
  });
  if (sorted.by) {
    const value = (row) => (sorted.by === "name" ? row.name.toLocaleLowerCase() : (row[sorted.by] ?? -Infinity));
    rows.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (sorted.down ? -1 : 1));
  }
  return rows;
}

/** From where to where scores are drawn: all intervals and zero, in tens. */
function scaleOf(rows) {
  const judged = rows.filter((row) => row.score !== null);
  const low = Math.min(0, ...judged.map((row) => row.score - row.told.margin));
  const high = Math.max(0, ...judged.map((row) => row.score + row.told.margin));
  return { low: Math.max(-100, Math.floor(low / 10) * 10 - 10), high: Math.min(100, Math.ceil(high / 10) * 10 + 10) };
}

$("compare").tHead.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const by = button.dataset.sort;
  sorted = { by, down: sorted.by === by ? !sorted.down : by !== "name" };
  for (const head of $("compare").tHead.querySelectorAll("th")) {
    const mine = head.contains(button);
    setAttributes(head, { "aria-sort": mine ? (sorted.down ? "descending" : "ascending") : null });
  }
  redraw();
});

function createRow(row) {
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, el("i", { class: "swatch-line", "data-part": "swatch" }), el("a", { "data-part": "name", href: `/brands/${encodeURIComponent(row.key)}` }), el("span", { class: "few", "data-part": "few", title: "Too few mentions to lean on the score" }, "few")),
    el("td", { class: "interval" }, el("b", { "data-part": "score" }), el("span", { class: "margin", "data-part": "margin" }), whisker()),
    el("td", { class: "n", "data-part": "mentions" }),
    el("td", { class: "metered" }, el("span", { class: "n", "data-part": "voice" }), meter("voice", "voice-bar")),
    el("td", { class: "metered" }, el("span", { class: "n", "data-part": "below" }), meter("below", "below-bar")),
    el("td", {}, el("div", { class: "stack", role: "img", "data-part": "stack" })),
    el("td", { "data-part": "weakest" }),
    el("td", { "data-part": "open" }),
  );
}

const meter = (look, part) => el("span", { class: "track", "aria-hidden": "true" }, el("i", { class: look, "data-part": part }));

/** The interval, on a scale that all rows share. */
function whisker() {
  return svg(
    "svg",
    { class: "whisker", viewBox: "-4 0 108 16", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("line", { class: "scale", x1: 0, x2: 100, y1: 8, y2: 8 }),
    svg("line", { class: "zero", "data-part": "zero", y1: 1, y2: 15 }),
    svg("line", { class: "range", "data-part": "range", y1: 8, y2: 8 }),
    svg("line", { class: "here", "data-part": "here", y1: 8, y2: 8 }),
  );
}

function updateRow(node, row, scale) {
  const part = parts(node);
  const score = row.told;
  const judged = row.score !== null;
  setWords(part.name, row.name);
  setAttributes(part.swatch, { class: `swatch-line ${look(row.key)}` });
  setText(part.score, judged ? points(row.score) : "–");
  part.few.hidden = !(judged && score.few);
  setText(part.margin, judged ? `± ${Math.round(score.margin)}` : "");
  const x = (value) => Math.round(1000 * Math.max(0, Math.min(1, (value - scale.low) / (scale.high - scale.low)))) / 10;
  setAttributes(part.zero, { x1: x(0), x2: x(0) });
  if (judged) {
    setAttributes(part.range, { x1: x(row.score - score.margin), x2: x(row.score + score.margin) });
    setAttributes(part.here, { x1: x(row.score), x2: x(row.score) });
  }
  node.classList.toggle("silent", !judged);
  setText(part.mentions, count(row.mentions));
  setText(part.voice, percent(row.voice));
  part["voice-bar"].style.width = `${100 * row.voice}%`;
  setText(part.below, percent(row.below));
  part["below-bar"].style.width = `${Math.min(100, 200 * row.below)}%`; // half of all talk fills it
  const total = score?.mentions || 1;
  const stages = STAGES.map((name) => ({ name, share: (score?.stages[name] ?? 0) / total }));
  each(part.stack, stages, (stage) => stage.name, (stage) => el("i", { class: stage.name }), (bar, stage) => {
    bar.style.width = `${100 * stage.share}%`;
  });
  setAttributes(part.stack, { "aria-label": stages.map((stage) => `${stage.name} ${percent(stage.share)}`).join(", ") });
  setText(part.weakest, row.weakest ? `${capital(row.weakest.name)}, ${percent(row.weakest.below)} of ${count(row.weakest.mentions)}` : "–");
  const href = row.open ? pageOf(row.open) : "";
  if (part.open.dataset.href !== href) {
    part.open.dataset.href = href;
    part.open.replaceChildren(row.open ? el("a", { href }) : "–");
  }
  if (row.open) setText(part.open.firstChild, `▲ ${about(row.open)}`);
}

const order = [];

/** A brand keeps its colour while the page is open. */
function look(key) {
  if (!order.includes(key)) order.push(key);
  const at = order.indexOf(key);
  return at < LINES ? `brand-${at + 1}` : "brand-more";
}

function showCourse(brands) {
  const known = brands.filter((brand) => courses.get(brand.key)?.length);
  const starts = known.flatMap((brand) => courses.get(brand.key).map((step) => Date.parse(step.start)));
  const first = Math.min(...starts);
  const hours = known.length ? (Math.max(...starts) - first) / 3_600_000 + 1 : 0;
  const steps = Array.from({ length: hours }, (_, n) => ({ from: first + n * 3_600_000, to: first + (n + 1) * 3_600_000 }));
  courseChart.draw({
    label: "Advocacy score over 24 hours, by brand",
    steps,
    series: known.map((brand) => {
      const at = new Map(courses.get(brand.key).map((step) => [Date.parse(step.start), step]));
      const found = steps.map(({ from }) => at.get(from));
      return {
        name: brand.name,
        kind: "line",
        look: look(brand.key),
        values: found.map((step) => step?.score ?? null),
        format: (value, n) => `${points(value)} ± ${Math.round(found[n].margin)}`,
      };
    }),
    floor: -10,
    ceiling: 10,
    axis: points,
  });
  each($("legend"), known, (brand) => brand.key, (brand) => el("li", {}, el("i", { class: `swatch-line ${look(brand.key)}` }), el("span", { "data-part": "name" })), (node, brand) =>
    setWords(parts(node).name, brand.name),
  );
}

each($("stages"), STAGES, (stage) => stage, (stage) => el("li", {}, el("i", { class: `swatch-box ${stage}` }), capital(stage)), () => {});
