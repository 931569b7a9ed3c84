// What all pages share: the stream from the worker, and the header that says how current it is.

import { each, el, parts, setText } from "./dom.js";
import { count, duration, rate, seconds } from "./format.js";

const SILENT_FOR = 40_000; // ms without a word after which the connection counts as lost
const TRY_AGAIN = 3_000;
const LOOK_EVERY = 3_000; // ms between two looks at a resource while things change

const $ = (id) => document.getElementById(id);

/**
 * Follows the worker: `draw(state)` at the next frame after something has come.
 *
 * Many messages make one drawing, a hidden page makes none. `state` holds the `sections` asked for,
 * `clock` (newest event time) and `feed` (`reading`, `live`, `lost`).
 */
export function follow(sections, draw) {
  const state = { status: {}, brands: [], trends: {}, alerts: [], mentions: [], clock: null, feed: "reading" };
  let heard = 0;
  let stream = null;
  let retry = 0;
  let drawing = false;

  function redraw() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      showWorker(state);
      draw(state);
    });
  }

  function connect() {
    clearTimeout(retry);
    stream?.close();
    heard = Date.now();
    stream = new EventSource(`/api/stream?sections=${sections.join(",")}`);
    stream.onmessage = (message) => {
      heard = Date.now();
      Object.assign(state, JSON.parse(message.data));
      showConnection(state, true);
      redraw();
    };
    stream.addEventListener("beat", () => {
      heard = Date.now();
    });
    stream.onerror = () => {
      showConnection(state, false);
      // The browser tries again by itself, except after an answer that is no stream.
      if (stream.readyState !== EventSource.CLOSED) return;
      retry = setTimeout(connect, TRY_AGAIN);
      askToSignIn();
    };
  }

  setInterval(() => {
    if (Date.now() - heard > SILENT_FOR) {
      showConnection(state, false);
      connect();
    }
  }, 5_000);
  for (const link of document.querySelectorAll(".pages a")) {
    if (link.pathname === location.pathname) link.setAttribute("aria-current", "page");
  }
  connect();
  return redraw;
}

async function askToSignIn() {
  try {
    toSignIn(await fetch("/api/brands", { method: "HEAD" }));
  } catch {
    // The worker does not answer at all, which the page says already.
  }
}

/** Goes to the sign-in page where an answer says so. */
export function toSignIn(answer) {
  if (answer.status !== 401) return;
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/**
 * A JSON resource that is looked at again while things change: the function returned looks now and
 * then however often it is called, with `true` at once.
 *
 * `show(json)` where it has changed, `fail(problem)` where it cannot be had.
 */
export function resource(pathOf, show, fail) {
  let tag = null;
  let path = null;
  let busy = false;
  let next = 0;
  let timer = 0;

  async function look() {
    busy = true;
    next = Date.now() + LOOK_EVERY;
    const asked = pathOf();
    if (asked !== path) [path, tag] = [asked, null];
    try {
      const answer = await fetch(asked, { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
      toSignIn(answer);
      if (answer.status === 304) return;
      const told = await answer.json();
      if (asked !== pathOf()) return;
      if (!answer.ok) {
        fail(told);
        return;
      }
      tag = answer.headers.get("ETag");
      show(told);
    } catch {
      // Lost on the way: the header says so, and the next message makes us look again.
    } finally {
      busy = false;
    }
  }

  return function again(now = false) {
    clearTimeout(timer);
    const wait = now ? 0 : next - Date.now();
    if (wait <= 0 && !busy) return look();
    timer = setTimeout(again, Math.max(wait, 100), now);
    return null;
  };
}

function showConnection(state, there) {
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

function showWorker({ status, clock }) {
  const facts = [
    ["Events in", count, status.events],
    ["Classified", (n) => `${rate(n)}/s`, status.classified_per_second],
    ["Waiting", count, status.lag],
    ["Rejected", count, status.rejected],
    ["Data up to", seconds, clock],
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

/** A choice kept on this device; `null` where nothing or nothing usable is kept. */
export function kept(name) {
  try {
    return localStorage.getItem(`gapwatch.${name}`);
  } catch {
    return null; // no storage: for this visit only, then
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(`gapwatch.${name}`, value);
  } catch {
    // As above.
  }
}

/** Makes a fieldset of radio buttons a choice that is kept; returns what gives the value chosen. */
export function choice(fieldset, name, onChange) {
  const radios = Array.from(fieldset.querySelectorAll("input"));
  const before = radios.find((radio) => radio.value === kept(name));
  if (before) before.checked = true;
  fieldset.addEventListener("change", (event) => {
    keep(name, event.target.value);
    onChange();
  });
  return () => radios.find((radio) => radio.checked).value;
}
