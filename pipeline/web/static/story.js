// What is said of an alert and of posts, wherever they are shown.

import { el, parts, setAttributes, setText, setWords, webLink } from "./dom.js";
import { count, short, time } from "./format.js";

/** Where an alert has a page of its own. */
export const pageOf = (alert) => `/alerts/${encodeURIComponent(alert.id)}`;

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
export function kept(alert) {
  const words = [];
  if (alert.acknowledged) words.push(`Taken on by ${alert.acknowledged}.`);
  if (alert.silenced === "cool-down") words.push("Not sent: too soon after one like it.");
  else if (alert.silenced === "limit") words.push("Not sent: too many messages this hour.");
  else if (alert.silenced) words.push(`Not sent: silenced (${alert.silenced}).`);
  return words.join(" ");
}

/** Who is to do something about it. */
export function answers(alert) {
  if (alert.team && alert.team !== "none") return `${alert.team} answers for ${about(alert)}`;
  if (alert.touchpoint === "all") return "Marketing and Operations answer together";
  return "No team is named for it";
}

/** A fact with its name; its value is the part `part`. */
export function fact(name, part) {
  return el("div", {}, el("dt", {}, name), el("dd", { "data-part": part }));
}

/** A term that stands out. */
export function updateTerm(node, term) {
  setWords(node, term.text);
  setAttributes(node, { title: `in ${count(term.posts)} posts` });
}

/** Shows words, or nothing where there are none. */
export function showNote(node, words) {
  node.hidden = words === "";
  setText(node, words);
}

/** A post, as its author wrote it: `updateQuoted` fills it. */
export function quoted() {
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

export function updateQuoted(node, post, clock) {
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
