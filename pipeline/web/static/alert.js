// An alert: what happened, what people say, and what was done about it; and doing it, right here.

import { chart } from "./chart.js";
import { each, el, parts, setAttributes, setText, setWords, svg } from "./dom.js";
import { LENGTHS, STAGES, capital, count, expected, moment, odds, percent, points, short, span, time } from "./format.js";
import { follow, keep, kept as keptHere, resource, toSignIn } from "./live.js";
import { about, answers, fact, kept, quoted, showNote, updateQuoted, updateTerm } from "./story.js";

const $ = (id) => document.getElementById(id);
const id = decodeURIComponent(location.pathname.split("/")[2]);
const path = `/api/alerts/${encodeURIComponent(id)}`;
const curve = chart({ height: 200 });
$("curve").append(curve.node);
let story = null;
let clock = null;
let reading = true;

const look = resource(
  () => path,
  (told) => {
    story = told;
    show();
  },
  (problem) => {
    // While the topics are still being read it may turn up yet.
    $("problem").hidden = false;
    setText($("problem"), reading ? "Reading the topics…" : problem.detail);
  },
);

follow(["status", "alerts"], (state) => {
  clock = state.clock;
  reading = state.feed === "reading";
  look();
  if (story) show();
});

function show() {
  const { alert } = story;
  const isOver = alert.status === "resolved";
  $("problem").hidden = true;
  $("story").hidden = false;
  document.title = `${isOver ? "" : "● "}${alert.brand_name}: ${about(alert)} · Gapwatch`;
  setWords($("brand"), alert.brand_name);
  setAttributes($("brand"), { href: `/brands/${encodeURIComponent(alert.brand)}` });
  setWords($("title-brand"), alert.brand_name);
  setText($("title"), `: ${about(alert)}`);
  $("state").hidden = false;
  setAttributes($("state"), { class: `badge ${alert.status}` });
  const since = span(alert.onset, isOver ? alert.updated : (clock ?? alert.updated));
  setText($("state"), `${BADGES[alert.status]}, severity ${alert.severity ?? 1} of 10, ${isOver ? "lasted " : ""}${since}`);
  showWays(story.links);
  setText($("seen"), count(isOver ? alert.peak : alert.seen));
  setText(
    $("usual"),
    alert.kind === "score"
      ? ` mentions in ${alert.window_minutes / 60} h; the score went ${alert.severity_reason}`
      : `${isOver ? " at most" : " seen"} in ${alert.window_minutes} min, expected ${expected(alert.expected)}`,
  );
  setText($("team"), answers(alert));
  showCurve(alert);
  showFacts(alert);
  showNote($("why"), [alert.unusual, alert.severity_reason].filter(Boolean).map(capital).join(". "));
  showNote($("changed"), alert.changed ? `${capital(alert.changed)}.` : "");
  $("cold").hidden = !alert.cold;
  each($("terms"), alert.terms ?? [], (term) => term.text, () => el("li"), updateTerm);
  $("no-posts").hidden = (alert.posts ?? []).length > 0;
  each($("posts"), alert.posts ?? [], (post) => post.id, quoted, (item, post) => updateQuoted(item, post, clock));
  showStages(alert);
  showForm(alert, isOver);
  showSilences();
  showTimeline();
}

const BADGES = { firing: "● Firing", escalated: "▲ Escalated", resolved: "✓ Resolved" };

function showWays({ dashboard, runbook }) {
  const ways = [["Runbook", runbook], ["Dashboard", dashboard]].filter(([, url]) => url);
  each($("ways"), ways, ([words]) => words, ([words, url]) =>
    el("a", { class: "button", href: url, rel: "noopener noreferrer", target: "_blank" }, words), (link, [, url]) =>
    setAttributes(link, { href: url }),
  );
}

function showCurve(alert) {
  const told = alert.curve;
  const there = Boolean(told?.seen.length);
  $("curve").hidden = $("curve-legend").hidden = !there;
  $("no-curve").hidden = there;
  if (!there) return;
  const start = Date.parse(told.start);
  const length = told.step_minutes * 60_000;
  const steps = told.seen.map((_, n) => ({ from: start + n * length, to: start + (n + 1) * length }));
  curve.draw({
    label: `${alert.brand_name}, ${about(alert)}: mentions every ${told.step_minutes} minutes against what was expected`,
    steps,
    series: [
      { name: "Seen", kind: "bars", look: "gap-usual", values: told.seen, usual: told.expected, format: count },
      { name: "Expected", kind: "steps", look: "expected-line", values: told.expected, format: expected },
    ],
    ceiling: 4,
    marks: [
      { at: Date.parse(alert.onset), look: "onset" },
      ...(alert.turns ?? []).map((turn) => ({ at: Date.parse(turn.at), look: turn.what })),
    ],
    axis: count,
  });
}

function showFacts(alert) {
  const facts = [
    ["Since", time(alert.onset, clock)],
    ["Share of its talk", percent(alert.share) + (alert.usual_share ? `, usually ${percent(alert.usual_share)}` : "")],
    ["Authors", alert.authors ? count(alert.authors) : "–"],
    ["Followers reached", short(alert.reach)],
    ["By chance", odds(alert.probability)],
    ["Most in a window", count(alert.peak)],
    ["Advocacy, 24 h", alert.score_now === undefined ? "–" : `${points(alert.score_now)}${alert.score_before === undefined ? "" : `, was ${points(alert.score_before)}`}`],
  ];
  each($("facts"), facts, ([name]) => name, ([name]) => fact(name, "value"), (node, [, value]) => setText(parts(node).value, value));
}

function showStages(alert) {
  const total = Object.values(alert.stages ?? {}).reduce((sum, n) => sum + n, 0);
  const stages = STAGES.map((name) => ({ name, held: alert.stages?.[name] ?? 0 }));
  each($("stack"), stages, (stage) => stage.name, (stage) => el("i", { class: stage.name }), (bar, stage) => {
    bar.style.width = `${(100 * stage.held) / Math.max(1, total)}%`;
  });
  setAttributes($("stack"), { "aria-label": stages.map((stage) => `${stage.name} ${stage.held}`).join(", ") });
  each($("legend"), stages, (stage) => stage.name, ({ name }) =>
    el(
      "li",
      {},
      svg("svg", { class: `swatch ${name}`, viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { width: 10, height: 10, rx: 2 })),
      capital(name),
      " ",
      el("b", { "data-part": "held" }),
    ), (item, stage) => setText(parts(item).held, count(stage.held)),
  );
}

// What is done

for (const select of [$("length"), $("silence-length")]) {
  for (const [minutes, words] of LENGTHS) select.append(el("option", { value: minutes }, `for ${words}`));
  select.value = "240";
}
$("author").value = keptHere("author") ?? "";

function showForm(alert, isOver) {
  showNote($("kept"), kept(alert));
  $("form").hidden = isOver;
  const { acknowledgement } = story;
  setText(
    $("form").querySelector('[data-do="acknowledge"]'),
    acknowledgement ? "Take it over" : "Take it on",
  );
  const named = alert.touchpoint !== "all" && !alert.touchpoints?.length;
  const withTeam = alert.team !== "none";
  $("of-touchpoint").closest("label").hidden = !named;
  $("of-team").closest("label").hidden = !withTeam;
  setText($("touchpoint-name"), alert.touchpoint);
  setText($("team-name"), alert.team);
  if (isOver && !$("done").textContent) setText($("done"), "It is over; there is nothing left to do here.");
}

const SAID = {
  acknowledge: () => "You have taken it on.",
  snooze: (told) => `Quiet until ${moment(told.end)}.`,
  silence: (told) => `Silenced until ${moment(told.end)}.`,
};

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const what = event.submitter?.dataset.do ?? "acknowledge";
  const { alert } = story;
  const body = { author: $("author").value.trim(), comment: $("comment").value.trim() };
  keep("author", body.author);
  let to = `${path}/acknowledgement`;
  if (what === "snooze") {
    to = `${path}/snooze`;
    body.minutes = Number($("length").value);
  }
  if (what === "silence") {
    to = "/api/silences";
    body.minutes = Number($("silence-length").value);
    const asked = (box) => box.checked && !box.closest("label").hidden;
    if (asked($("of-brand"))) body.brand = alert.brand;
    if (asked($("of-touchpoint"))) body.touchpoint = alert.touchpoint;
    if (asked($("of-team"))) body.team = alert.team;
  }
  const told = await send(to, body, event.submitter);
  if (told) {
    say(SAID[what](told));
    $("comment").value = "";
  }
});

/** Sends what is asked for; returns the answer, or `null` once it has said why not. */
async function send(to, body, button) {
  button?.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(to, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    toSignIn(answer);
    const told = await answer.json();
    if (answer.ok) {
      look(true);
      return told;
    }
    say(told.detail, true);
  } catch {
    say("The worker does not answer; nothing was sent. Try again.", true);
  } finally {
    button?.removeAttribute("aria-busy");
  }
  return null;
}

function say(words, isTrouble = false) {
  $("done").classList.toggle("trouble", isTrouble);
  setText($("done"), words);
}

function showSilences() {
  $("silences-panel").hidden = story.silences.length === 0;
  each($("silences"), story.silences, (silence) => silence.id, createSilence, (node, silence) => {
    const part = parts(node);
    setText(part.what, scope(silence));
    setText(part.until, `until ${moment(silence.end)}`);
    setWords(part.by, silence.author);
    showNote(part.comment, "");
    if (silence.comment) {
      part.comment.hidden = false;
      setWords(part.comment, silence.comment);
    }
  });
}

function createSilence(silence) {
  const end = el("button", { type: "button", "aria-label": `End silence ${silence.id}` }, "End it");
  end.addEventListener("click", async () => {
    if (await send(`/api/silences/${encodeURIComponent(silence.id)}/end`, {}, end)) {
      say(`Silence ${silence.id} has ended.`);
      $("done").scrollIntoView({ block: "nearest" });
      $("act-title").closest("section").querySelector("button, input")?.focus({ preventScroll: true });
    }
  });
  return el(
    "li",
    {},
    el("p", {}, el("b", { "data-part": "what" }), " ", el("span", { "data-part": "until" })),
    el("p", { class: "hint" }, "by ", el("span", { "data-part": "by" })),
    el("p", { class: "words", "data-part": "comment" }),
    end,
  );
}

const scope = ({ alert, brand, touchpoint, team }) =>
  alert ? "This alert" : [brand, touchpoint, team && `team ${team}`].filter(Boolean).map(capital).join(", ");

// How it came to this

const TURNS = {
  firing: "Fired",
  escalated: "Escalated",
  resolved: "Resolved",
  silenced: "Kept quiet",
  heard: "No longer kept quiet",
  acknowledged: "Taken on",
};
const HELD = { "cool-down": "too soon after one like it", limit: "too many messages this hour" };
const STATES = { waiting: "waiting for", delivered: "told to", given_up: "given up on" };

function showTimeline() {
  const { alert, acknowledgement, deliveries } = story;
  const turns = alert.turns ?? [];
  const entries = [
    { key: "onset", at: alert.onset, look: "onset", title: "Began", detail: "the first minute of the spike" },
    ...turns.map((turn, n) => ({ key: `turn ${n}`, at: turn.at, look: turn.what, ...turned(turn) })),
    // What was just done, before the detector has told it.
    ...(acknowledgement && !turns.some((turn) => turn.what === "acknowledged" && turn.by === acknowledgement.author)
      ? [{ key: "ack", at: acknowledgement.at, look: "acknowledged", title: TURNS.acknowledged, by: acknowledgement.author, words: acknowledgement.comment }]
      : []),
    ...deliveries.map((told) => ({
      key: `to ${told.receiver} ${told.notification}`,
      at: told.at,
      look: told.state,
      title: `${TURNS[told.what] ?? capital(told.what.split(".")[0])}: ${STATES[told.state]} ${told.receiver}`,
      detail: told.detail,
    })),
  ].sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
  each($("timeline"), entries, (entry) => entry.key, createEntry, updateEntry);
}

function turned(turn) {
  const { acknowledgement, silences } = story;
  const figures = `${count(turn.seen)} seen, severity ${turn.severity ?? 1}`;
  if (turn.what === "acknowledged") {
    const mine = acknowledgement?.author === turn.by;
    return { title: TURNS.acknowledged, by: turn.by, words: mine ? acknowledgement.comment : "" };
  }
  if (turn.what === "silenced") {
    const silence = silences.find((each) => each.id === turn.by);
    return { title: TURNS.silenced, detail: HELD[turn.by] ?? `silence ${turn.by}`, by: silence?.author, words: silence?.comment };
  }
  return { title: TURNS[turn.what], detail: figures };
}

function createEntry(entry) {
  return el(
    "li",
    { class: entry.look },
    el("time", { "data-part": "at" }),
    el("p", {}, el("b", { "data-part": "title" }), el("span", { "data-part": "by" }, " by ", el("span", { "data-part": "whom" }))),
    el("p", { class: "hint", "data-part": "detail" }),
    el("p", { "data-part": "words" }),
  );
}

function updateEntry(node, entry) {
  const part = parts(node);
  setAttributes(part.at, { datetime: entry.at });
  setText(part.at, time(entry.at, clock));
  setText(part.title, entry.title);
  part.by.hidden = !entry.by;
  setWords(part.whom, entry.by ?? "");
  showNote(part.detail, entry.detail ?? "");
  part.words.hidden = !entry.words;
  setWords(part.words, entry.words ?? "");
}
