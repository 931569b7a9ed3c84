// Alerts: what has stopped matching the promise, and who answers for it.

import { each, el, parts, setText, setWords } from "./dom.js";
import { capital, count, expected, odds, percent, short, span, time } from "./format.js";
import { about, answers, fact, kept, pageOf, quoted, showNote, updateQuoted, updateTerm } from "./story.js";

const $ = (id) => document.getElementById(id);
const announced = new Map();

/** Shows the alerts; those open first. Returns how many are open. */
export function showAlerts(alerts, clock, feed) {
  const open = alerts.filter((alert) => alert.status !== "resolved");
  const resolved = alerts.filter((alert) => alert.status === "resolved");
  $("no-alerts").hidden = open.length > 0;
  setText(
    $("no-alerts"),
    feed === "reading"
      ? "Reading the topics…"
      : "None open. One opens when talk of unmet expectations rises above what is usual for a brand.",
  );
  each($("open-alerts"), open, (alert) => alert.id, openAlert, (node, alert) =>
    updateOpen(node, alert, clock),
  );
  $("resolved").hidden = resolved.length === 0;
  setText($("resolved").querySelector("summary"), `Resolved lately (${resolved.length})`);
  each($("resolved-alerts"), resolved, (alert) => alert.id, resolvedAlert, (node, alert) =>
    updateResolved(node, alert, clock),
  );
  announce(open);
  return open.length;
}

function announce(open) {
  const news = open.filter((alert) => announced.get(alert.id) !== alert.status);
  for (const alert of news) announced.set(alert.id, alert.status);
  if (news.length === 0) return;
  setText(
    $("announcer"),
    news
      .map(
        (alert) =>
          `Alert ${alert.status}: ${alert.brand_name}, ${about(alert)}. ${answers(alert)}. ` +
          `Seen ${alert.seen} in ${alert.window_minutes} minutes, ` +
          `expected ${expected(alert.expected)}.`,
      )
      .join(" "),
  );
}

function openAlert(alert) {
  return el(
    "article",
    { class: "alert" },
    el(
      "header",
      {},
      el(
        "h3",
        {},
        el("a", { "data-part": "brand", href: pageOf(alert) }),
        " ",
        el("span", { class: "touchpoint", "data-part": "touchpoint" }),
      ),
      el("p", { class: "state", "data-part": "state" }),
    ),
    el("p", { class: "seen" }, el("strong", { "data-part": "seen" }), el("span", { "data-part": "usual" })),
    el("div", { class: "measure", "aria-hidden": "true" }, el("i", { "data-part": "bar" }), el("b", { "data-part": "tick" })),
    el("p", { class: "team", "data-part": "team" }),
    el("p", { class: "kept", "data-part": "kept" }),
    el("ul", { class: "terms", "data-part": "terms", "aria-label": "Words that stand out" }),
    el(
      "dl",
      { class: "facts" },
      fact("Since", "since"),
      fact("Share of its talk", "share"),
      fact("Followers reached", "reach"),
      fact("By chance", "chance"),
    ),
    el("p", { class: "note", "data-part": "changed" }),
    el("p", { class: "note", "data-part": "why" }),
    el("p", { class: "note", "data-part": "cold" }, "Short history: what is usual is still a guess."),
    el("ul", { class: "posts", "data-part": "posts", "aria-label": "What people say" }),
    el("p", { class: "more" }, el("a", { href: pageOf(alert) }, "Timeline, acknowledge, silence")),
  );
}

function updateOpen(node, alert, clock) {
  const part = parts(node);
  node.classList.toggle("escalated", alert.status === "escalated");
  setWords(part.brand, alert.brand_name);
  setText(part.touchpoint, about(alert));
  const state = alert.status === "escalated" ? "▲ Escalated" : "● Firing";
  const severity = alert.severity ? `, severity ${alert.severity} of 10` : "";
  setText(part.state, `${state}${severity}, ${span(alert.onset, clock ?? alert.updated)}`);
  setText(part.seen, count(alert.seen));
  setText(
    part.usual,
    ` seen in ${alert.window_minutes} min, expected ${expected(alert.expected)}`,
  );
  const full = Math.max(alert.seen, alert.expected, 1);
  part.bar.style.width = `${(100 * alert.seen) / full}%`;
  part.tick.style.left = `${(100 * alert.expected) / full}%`;
  setText(part.team, answers(alert));
  setText(part.since, time(alert.onset, clock));
  setText(part.share, percent(alert.share));
  setText(part.reach, short(alert.reach));
  setText(part.chance, odds(alert.probability));
  showNote(part.kept, kept(alert));
  const last = alert.status === "escalated" ? "escalated" : "fired";
  showNote(part.changed, alert.changed ? `Since it ${last}: ${alert.changed}.` : "");
  showNote(part.why, [alert.unusual, alert.severity_reason].filter(Boolean).map(capital).join(". "));
  each(part.terms, alert.terms ?? [], (term) => term.text, () => el("li"), updateTerm);
  part.cold.hidden = !alert.cold;
  each(part.posts, (alert.posts ?? []).slice(0, 3), (post) => post.id, quoted, (item, post) =>
    updateQuoted(item, post, clock),
  );
}

function resolvedAlert(alert) {
  return el(
    "li",
    {},
    el("a", { href: pageOf(alert) }, el("strong", { "data-part": "brand" })),
    " ",
    el("span", { class: "touchpoint", "data-part": "touchpoint" }),
    " ",
    el("span", { "data-part": "told" }),
  );
}

function updateResolved(node, alert, clock) {
  const part = parts(node);
  setWords(part.brand, alert.brand_name);
  setText(part.touchpoint, about(alert));
  setText(
    part.told,
    `${time(alert.onset, clock)} to ${time(alert.updated, clock)}, ` +
      `at most ${count(alert.peak)} in ${alert.window_minutes} min`,
  );
}
