// The overview: open alerts, a card for each brand, and mentions as they come.

import { showAlerts } from "./alerts.js";
import { showBrands } from "./brands.js";
import { el, setText } from "./dom.js";
import { choice, follow } from "./live.js";
import { showMentions } from "./mentions.js";

const $ = (id) => document.getElementById(id);
let held = false;

// Messages of old led to a place on this page.
if (location.hash.startsWith("#alert-")) location.replace(`/alerts/${location.hash.slice(7)}`);

const redraw = follow(["status", "brands", "trends", "alerts", "mentions"], (state) => {
  const open = showAlerts(state.alerts, state.clock, state.feed);
  document.title = open ? `(${open}) Gapwatch` : "Gapwatch";
  showBrands($("cards"), state, chosen());
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
const chosen = choice($("windows"), "window", redraw);

function explain(place, wanted, words) {
  if (!place.firstChild) place.append(...words);
  place.hidden = !wanted;
}

$("hold").addEventListener("click", () => {
  held = !held;
  setText($("hold"), held ? "Resume" : "Pause");
  $("hold").setAttribute("aria-pressed", String(held));
  redraw();
});
