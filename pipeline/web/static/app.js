// The live page: takes what the worker streams and shows it, without reload.

import { showAlerts } from "./alerts.js";
import { showBrands } from "./brands.js";
import { el, each, parts, setText } from "./dom.js";
import { count, duration, rate, seconds } from "./format.js";
import { showMentions } from "./mentions.js";

const SILENT_FOR = 40_000; // ms without a word after which the connection counts as lost
const TRY_AGAIN = 3_000;
const WINDOW_KEPT = "gapwatch.window";

const $ = (id) => document.getElementById(id);
const state = { status: {}, brands: [], trends: {}, alerts: [], mentions: [], clock: null, feed: "reading" };
let window_ = "1h";
let held = false;
let heard = 0;
let stream = null;
let retry = 0;
let drawing = false;

function connect() {
  clearTimeout(retry);
  stream?.close();
  heard = Date.now();
  stream = new EventSource("/api/stream");
  stream.onmessage = (message) => {
    heard = Date.now();
    Object.assign(state, JSON.parse(message.data));
    connection(true);
    draw();
  };
  stream.addEventListener("beat", () => {
    heard = Date.now();
  });
  stream.onerror = () => {
    connection(false);
    // The browser tries again by itself, except after an answer that is no stream.
    if (stream.readyState === EventSource.CLOSED) retry = setTimeout(connect, TRY_AGAIN);
  };
}

setInterval(() => {
  if (Date.now() - heard > SILENT_FOR) {
    connection(false);
    connect();
  }
}, 5_000);

function connection(there) {
  const link = $("link");
  const since = state.clock ? ` What you see is from ${seconds(state.clock)}.` : "";
  const words = !there
    ? "Connection lost"
    : { live: "Live", reading: "Reading", lost: "Kafka not reached" }[state.feed];
  link.className = `link ${there ? state.feed : "lost"}`;
  setText(link, words);
  const notice = !there
    ? `The worker does not answer; trying again.${since}`
    : state.feed === "lost"
      ? `The worker cannot reach Kafka; it keeps trying.${since}`
      : "";
  $("notice").hidden = !notice;
  setText($("notice"), notice);
  document.body.classList.toggle("stale", Boolean(notice));
}

/** Draws at the next frame: many messages make one drawing, a hidden page none. */
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    showWorker();
    const open = showAlerts(state.alerts, state.clock, state.feed);
    document.title = open ? `(${open}) Gapwatch` : "Gapwatch";
    showBrands($("cards"), state, window_);
    explain($("no-brands"), state.brands.length === 0, [
      "No brands yet. Name the first in a ",
      el("code", {}, "[[brands]]"),
      " table of the settings file and start the worker again.",
    ]);
    const feed = $("feed");
    if (!held && !feed.matches(":hover, :focus-within")) showMentions(feed, state.mentions, state.clock);
    explain($("no-mentions"), state.mentions.length === 0, [
      "No mentions yet. Send events with ",
      el("code", {}, "gapwatch send FILE"),
      ", or connect a source.",
    ]);
  });
}

function explain(place, wanted, words) {
  if (!place.firstChild) place.append(...words);
  place.hidden = !wanted;
}

function showWorker() {
  const status = state.status;
  const facts = [
    ["Events in", count, status.events],
    ["Classified", (n) => `${rate(n)}/s`, status.classified_per_second],
    ["Waiting", count, status.lag],
    ["Rejected", count, status.rejected],
    ["Data up to", seconds, state.clock],
  ].filter(([, , value]) => value !== undefined && value !== null);
  each(
    $("worker"),
    facts,
    ([name]) => name,
    ([name]) => el("div", {}, el("dt", {}, name), el("dd", { "data-part": "value" })),
    (node, [, format, value]) => setText(parts(node).value, format(value)),
  );
  const about = [];
  if (status.version) about.push(`Gapwatch ${status.version}`);
  if (status.model) about.push(`model ${status.model}`);
  if (status.uptime_seconds !== undefined) about.push(`up ${duration(status.uptime_seconds)}`);
  setText($("about"), about.join(" · "));
}

function choose(window) {
  window_ = window;
  draw();
}

$("windows").addEventListener("change", (event) => {
  choose(event.target.value);
  try {
    localStorage.setItem(WINDOW_KEPT, event.target.value);
  } catch {
    // Kept for this visit only, then.
  }
});

$("hold").addEventListener("click", () => {
  held = !held;
  setText($("hold"), held ? "Resume" : "Pause");
  $("hold").setAttribute("aria-pressed", String(held));
  draw();
});

try {
  const kept = document.querySelector(`input[name="window"][value="${localStorage.getItem(WINDOW_KEPT)}"]`);
  if (kept) {
    kept.checked = true;
    window_ = kept.value;
  }
} catch {
  // No storage: the hour it is.
}
connect();
