// Alerts: what has stopped matching the promise, and who answers for it.

import { each, el, parts, setAttributes, setText, setWords, webLink } from "./dom.js";
import { capital, count, expected, odds, percent, short, span, time } from "./format.js";

const $ = (id) => document.getElementById(id);
const announced = new Map();
let sought = pointedAt();

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
  goToSought();
  return open.length;
}

/** The id that the address ends in: messages link to `#alert-ID`. */
function pointedAt() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

addEventListener("hashchange", () => {
  sought = pointedAt();
  goToSought();
});

/** Goes to the alert that the address points at, once: as soon as it is there. */
function goToSought() {
  const node = sought.startsWith("alert-") ? document.getElementById(sought) : null;
  if (!node) return;
  sought = "";
  for (const other of document.querySelectorAll(".sought")) other.classList.remove("sought");
  const folded = node.closest("details");
  if (folded) folded.open = true;
  node.classList.add("sought");
  node.focus({ preventScroll: true });
  node.scrollIntoView({ block: "center" });
}

/** What messages link to. */
function anchor(alert) {
  return { id: `alert-${alert.id}`, tabindex: "-1" };
}

/** What an alert is about, in words. */
export function about(alert) {
  if (alert.kind === "score") return "falling score";
  const names = alert.touchpoints?.length ? alert.touchpoints : [alert.touchpoint];
  const where = names.length === 1 && names[0] === "all" ? "all touchpoints" : names.join(", ");
  if (alert.kind === "delight") return `delight: ${where}`;
  if (alert.kind === "rival") return `rival ${alert.rival}: ${where}`;
  return where;
}

/** Why nobody is told of it, or who has taken it on; empty where neither is so. */
function kept(alert) {
  const words = [];
  if (alert.acknowledged) words.push(`Taken on by ${alert.acknowledged}.`);
  if (alert.silenced === "cool-down") words.push("Not sent: too soon after one like it.");
  else if (alert.silenced === "limit") words.push("Not sent: too many messages this hour.");
  else if (alert.silenced) words.push(`Not sent: silenced (${alert.silenced}).`);
  return words.join(" ");
}

function answers(alert) {
  if (alert.team && alert.team !== "none") return `${alert.team} answers for ${about(alert)}`;
  if (alert.touchpoint === "all") return "Marketing and Operations answer together";
  return "No team is named for it";
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
    { class: "alert", ...anchor(alert) },
    el(
      "header",
      {},
      el(
        "h3",
        {},
        el("span", { "data-part": "brand" }),
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
  );
}

function fact(name, part) {
  return el("div", {}, el("dt", {}, name), el("dd", { "data-part": part }));
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

function updateTerm(node, term) {
  setWords(node, term.text);
  setAttributes(node, { title: `in ${count(term.posts)} posts` });
}

function showNote(node, words) {
  node.hidden = words === "";
  setText(node, words);
}

function quoted() {
  return el(
    "li",
    {},
    el("blockquote", { "data-part": "text" }),
    el(
      "p",
      { class: "by" },
      el("span", { "data-part": "author" }),
      el("span", { "data-part": "followers" }),
      el("time", { "data-part": "at" }),
      el("span", { "data-part": "link" }),
      el("span", { "data-part": "alike" }),
    ),
  );
}

function updateQuoted(node, post, clock) {
  const part = parts(node);
  setWords(part.text, post.text);
  setWords(part.author, post.author || "someone");
  setText(part.followers, post.followers ? `${short(post.followers)} followers` : "");
  setAttributes(part.at, { datetime: post.published });
  setText(part.at, time(post.published, clock));
  showLink(part.link, post.url);
  setText(part.alike, post.alike ? `and ${count(post.alike)} like it` : "");
}

/** Puts a link into its place; only when the address has changed, so that focus stays. */
export function showLink(place, url) {
  if (place.dataset.url === (url ?? "")) return;
  place.dataset.url = url ?? "";
  const link = url ? webLink(url) : null;
  place.replaceChildren(...(link ? [link] : []));
}

function resolvedAlert(alert) {
  return el(
    "li",
    anchor(alert),
    el("strong", { "data-part": "brand" }),
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
