// A brand's last 24 hours, hour by hour: a line for the score, columns for gaps below.

import { setAttributes, svg } from "./dom.js";
import { percent, points as signed } from "./format.js";

const WIDTH = 240;
const LINE = 46; // height of the score's part
const HEIGHT = 66; // and with the columns under it
const DAY = 24 * 3600;
const HOLE = 2 * 3600; // seconds without a point that break the line
const LEAST_SPAN = 40; // points of score: a quiet day shall look quiet
const LEAST_GAP = 0.25; // the columns' scale reaches at least so far

/** The drawing's elements, empty. */
export function emptyTrend() {
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
    svg("path", { class: "columns" }),
    svg("line", { class: "zero", x1: 0, x2: WIDTH }),
    svg("path", { class: "line" }),
    svg("path", { class: "last" }),
  );
}

/** Draws the points and, last, the score as it stands; returns the caption. */
export function drawTrend(drawing, held, now) {
  const all = held.map(([at, score, below]) => ({ at, score, below }));
  if (now) {
    const at = Date.parse(now.as_of) / 1000;
    while (all.length && all.at(-1).at >= at) all.pop();
    all.push({ at, score: now.score, below: now.gap.below });
  }
  const [columns, zero, line, last] = drawing.children;
  const scored = all.filter((point) => point.score !== null);
  drawing.classList.toggle("blank", scored.length < 2);
  if (scored.length < 2) {
    setAttributes(drawing, { "aria-label": "No trend yet" });
    return "trend: not enough yet";
  }
  const end = all.at(-1).at;
  const start = Math.min(end - 3600, Math.max(end - DAY, all[0].at));
  const x = (at) => round(((at - start) / (end - start)) * (WIDTH - 3));
  let low = Math.min(0, ...scored.map((point) => point.score));
  let high = Math.max(0, ...scored.map((point) => point.score));
  const missing = (LEAST_SPAN - (high - low)) / 2;
  if (missing > 0) [low, high] = [low - missing, high + missing];
  const y = (score) => round(3 + (1 - (score - low) / (high - low)) * (LINE - 6));
  setAttributes(zero, { y1: y(0), y2: y(0) });
  setAttributes(line, { d: path(scored, x, y) });
  const dot = scored.at(-1);
  setAttributes(last, { d: `M${x(dot.at)} ${y(dot.score)}h0` });
  const most = Math.max(LEAST_GAP, ...all.map((point) => point.below));
  setAttributes(columns, {
    d: all
      .filter((point) => point.below > 0)
      .map((point) => `M${x(point.at)} ${HEIGHT}v${round((-point.below / most) * (HEIGHT - LINE - 2))}`)
      .join(""),
  });
  const values = scored.map((point) => point.score);
  setAttributes(drawing, {
    "aria-label":
      `One-hour score, from ${signed(values[0])} to ${signed(values.at(-1))}, ` +
      `lowest ${signed(Math.min(...values))}, highest ${signed(Math.max(...values))}; ` +
      `below expectation now ${percent(all.at(-1).below)}`,
  });
  const hours = Math.max(1, Math.round((end - start) / 3600));
  return `over ${hours} h: ${signed(Math.min(...values))} to ${signed(Math.max(...values))}`;
}

function path(scored, x, y) {
  let drawn = "";
  let before = -Infinity;
  for (const { at, score } of scored) {
    drawn += `${at - before > HOLE ? "M" : "L"}${x(at)} ${y(score)}`;
    before = at;
  }
  return drawn;
}

const round = (n) => Math.round(n * 10) / 10;
