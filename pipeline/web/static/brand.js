// A brand: its score and gaps over time, who engages how, its alerts, and who answers.

import { chart } from "./chart.js";
import { each, el, parts, setAttributes, setText, setWords } from "./dom.js";
import { STAGES, TOUCHPOINTS, WINDOW_NAMES, capital, count, expected, moment, percent, points, short, span } from "./format.js";
import { choice, follow, resource } from "./live.js";
import { about, fact, pageOf, updateTerm } from "./story.js";

const $ = (id) => document.getElementById(id);
const key = decodeURIComponent(location.pathname.split("/")[2]);
const RANGES = {
  24: { step: 1, window: "1h", hint: "of each hour" },
  168: { step: 1, window: "24h", hint: "over the 24 hours before" },
  672: { step: 4, window: "24h", hint: "over the 24 hours before" },
};
const ALL = "all";

const scoreChart = chart({ height: 220 });
$("score-chart").append(scoreChart.node);
let course = null;
let past = [];
let brand = null;
let openNow = [];

const range = choice($("ranges"), "range", () => {
  lookAtHistory(true);
  redraw();
});
const lookAtHistory = resource(
  () => {
    const { step, window } = RANGES[range()];
    return `/api/brands/${encodeURIComponent(key)}/history?hours=${range()}&step=${step}&window=${window}`;
  },
  (told) => {
    course = told;
    $("problem").hidden = true;
    redraw();
  },
  (problem) => {
    $("problem").hidden = false;
    setText($("problem"), problem.detail);
  },
);
const lookAtAlerts = resource(
  () => `/api/alerts?brand=${encodeURIComponent(key)}&resolved=50`,
  (told) => {
    past = told;
    redraw();
  },
  () => {},
);

const redraw = follow(["status", "brands", "alerts"], (state) => {
  brand = state.brands.find((each) => each.key === key) ?? null;
  openNow = state.alerts.filter((alert) => alert.brand === key && alert.status !== "resolved");
  lookAtHistory();
  lookAtAlerts();
  showHead();
  if (course) {
    showScore();
    showFunnel();
    showGaps();
    showTerms();
  }
  showAlerts(state.clock);
  showTeams();
});

const stepsOf = ({ steps, step_hours: hours }) =>
  steps.map((step) => {
    const from = Date.parse(step.start);
    return { from, to: from + hours * 3_600_000 };
  });

const spans = (steps) =>
  past.map((alert) => ({
    from: Date.parse(alert.onset),
    to: alert.status === "resolved" ? Date.parse(alert.updated) : (steps.at(-1)?.to ?? Date.parse(alert.updated)),
    look: "alert-span",
  }));

function showHead() {
  const name = brand?.name ?? key;
  setWords($("name"), name);
  document.title = `${openNow.length ? `(${openNow.length}) ` : ""}${name} · Gapwatch`;
  $("alarm").hidden = openNow.length === 0;
  setText($("alarm"), openNow.length ? `▲ ${openNow.map(about).join(", ")}` : "");
  const { window, hint } = RANGES[range()];
  setText($("score-hint"), hint);
  const score = brand?.scores[window];
  const judged = Boolean(score && score.score !== null);
  setText($("score"), judged ? points(score.score) : "–");
  setText($("margin"), judged && score.margin !== null ? `± ${Math.round(score.margin)}` : "");
  const rivals = brand?.rivals.map((rival) => rival.name).join(", ");
  const facts = [
    ["Mentions", score ? short(score.mentions) : "–", WINDOW_NAMES[window]],
    ["Authors", score ? short(score.authors) : "–", WINDOW_NAMES[window]],
    ["Below expectation", score ? percent(score.gap.below) : "–", WINDOW_NAMES[window]],
    ["Share of voice", score && score.share_of_voice !== null ? percent(score.share_of_voice) : "–", rivals ? `against ${rivals}` : "no rivals configured"],
    ["Ideas", score ? short(score.suggestions) : "–", WINDOW_NAMES[window]],
  ];
  each($("facts"), facts, ([words]) => words, ([words]) => fact(words, "value"), (node, [, value, title]) => {
    setText(parts(node).value, value);
    setAttributes(node, { title });
  });
}

function showScore() {
  const steps = stepsOf(course);
  const values = course.steps.map((step) => step.score);
  const margins = course.steps.map((step) => step.margin);
  const edge = (way) => values.map((value, n) => (value === null ? null : Math.max(-100, Math.min(100, value + way * margins[n]))));
  scoreChart.draw({
    label: `Advocacy score of ${brand?.name ?? key} ${RANGES[range()].hint}`,
    steps,
    series: [
      { name: "interval", kind: "band", look: "score-band", values, low: edge(-1), high: edge(1) },
      {
        name: "Score",
        kind: "line",
        look: "score-line",
        values,
        format: (value, n) => `${points(value)} ± ${Math.round(margins[n])}`,
      },
      mentions(course.steps),
    ],
    floor: -10,
    ceiling: 10,
    spans: spans(steps),
    axis: points,
  });
}

/** Told with the chart, not drawn in it. */
const mentions = (steps) => ({
  name: "Mentions",
  kind: "none",
  look: "",
  values: steps.map((step) => step.mentions),
  format: count,
});

function showFunnel() {
  const sums = STAGES.map((stage) => ({
    stage,
    count: course.steps.reduce((sum, step) => sum + (step.stages[stage] ?? 0), 0),
  }));
  const total = sums.reduce((sum, each) => sum + each.count, 0);
  const most = Math.max(1, ...sums.map((each) => each.count));
  $("no-funnel").hidden = total > 0;
  $("funnel").hidden = total === 0;
  each($("funnel"), sums, ({ stage }) => stage, createStage, (node, { stage, count: held }) => {
    const part = parts(node);
    setText(part.count, count(held));
    setText(part.share, percent(held / Math.max(1, total)));
    part.bar.style.width = `${(100 * held) / most}%`;
    const at = STAGES.indexOf(stage);
    const before = at ? sums[at - 1].count : 0;
    setText(part.ratio, before ? `${percent(held / before)} as many as ${STAGES[at - 1]}` : "");
  });
}

const MEANING = {
  consumption: "reads, watches, listens",
  curation: "shares, rates, sorts",
  creation: "writes, posts, asks",
  collaboration: "helps others, works along",
};

function createStage({ stage }) {
  return el(
    "li",
    {},
    el("p", { class: "stage-name" }, el("b", {}, capital(stage)), el("span", {}, MEANING[stage])),
    el("p", { class: "stage-count" }, el("b", { "data-part": "count" }), el("span", { "data-part": "share" })),
    el("div", { class: "track", "aria-hidden": "true" }, el("i", { class: stage, "data-part": "bar" })),
    el("p", { class: "ratio", "data-part": "ratio" }),
  );
}

const gapCharts = new Map();

function showGaps() {
  const steps = stepsOf(course);
  const names = [ALL, ...TOUCHPOINTS];
  each($("gaps"), names, (name) => name, createMultiple, (node, name) => {
    const part = parts(node);
    const told = course.steps.map((step) => step.gaps[name] ?? {});
    const below = told.map((gap) => gap.below ?? 0);
    const usual = told.map((gap) => gap.expected ?? null);
    const sum = below.reduce((a, b) => a + b, 0);
    const said = told.filter((gap) => gap.expected !== undefined);
    const seenWhereSaid = said.reduce((all, gap) => all + (gap.below ?? 0), 0);
    const due = said.reduce((all, gap) => all + gap.expected, 0);
    setText(part.sum, count(sum));
    setText(
      part.due,
      said.length === told.length
        ? ` below, ${expected(due)} expected`
        : said.length
          ? ` below; ${count(seenWhereSaid)} where ${expected(due)} were expected`
          : " below; what to expect is not known yet",
    );
    node.classList.toggle("hot", said.length > 0 && seenWhereSaid > 1.5 * due && seenWhereSaid >= due + 8);
    gapCharts.get(name).draw({
      label: `Mentions of ${brand?.name ?? key} below expectation, ${name === ALL ? "all touchpoints" : name}`,
      steps,
      series: [
        { name: "Below", kind: "bars", look: "gap-usual", values: below, usual, format: count },
        { name: "Expected", kind: "steps", look: "expected-line", values: usual, format: expected },
        { name: "Above", kind: "none", look: "", values: told.map((gap) => gap.above ?? 0), format: count },
        { name: "Mentions", kind: "none", look: "", values: told.map((gap) => gap.mentions ?? 0), format: count },
      ],
      ceiling: 4,
      spans: spans(steps),
    });
  });
  if ($("gap-table").open) fillGapTable(steps);
}

function createMultiple(name) {
  const drawn = chart({ height: 96, small: true });
  gapCharts.set(name, drawn);
  const team = name === ALL ? "" : (course.teams[name] ?? "");
  return el(
    "article",
    { class: name === ALL ? "multiple all" : "multiple" },
    el("h3", {}, name === ALL ? "All touchpoints" : capital(name), el("span", { class: "team-tag" }, team)),
    el("p", { class: "sum" }, el("b", { "data-part": "sum" }), el("span", { "data-part": "due" })),
    drawn.node,
  );
}

function fillGapTable(steps) {
  const names = [ALL, ...TOUCHPOINTS];
  const cell = (gap) => `${gap?.below ?? 0}${gap?.expected === undefined ? "" : ` (${expected(gap.expected)})`}`;
  const head = el("tr", {}, el("th", { scope: "col" }, "From"), ...names.map((name) => el("th", { scope: "col" }, capital(name))));
  const rows = course.steps.map((step, n) =>
    el("tr", {}, el("th", { scope: "row" }, moment(steps[n].from)), ...names.map((name) => el("td", {}, cell(step.gaps[name])))),
  );
  $("gap-table")
    .querySelector("table")
    .replaceChildren(el("caption", {}, "Below expectation (expected)"), el("thead", {}, head), el("tbody", {}, ...rows.toReversed()));
}

$("gap-table").addEventListener("toggle", redraw);

function showTerms() {
  $("no-terms").hidden = course.terms.length > 0;
  each($("terms"), course.terms, (term) => term.text, () => el("li"), updateTerm);
}

const STATES = { firing: "● Firing", escalated: "▲ Escalated", resolved: "Resolved" };

function showAlerts(clock) {
  const open = past.filter((alert) => alert.status !== "resolved").length;
  setText($("alerts-hint"), past.length ? `${open} open, ${past.length - open} past` : "");
  $("no-alerts").hidden = past.length > 0;
  $("alerts-table").hidden = past.length === 0;
  each($("alerts"), past, (alert) => alert.id, createAlert, (row, alert) => {
    const part = parts(row);
    row.classList.toggle("open", alert.status !== "resolved");
    setText(part.about, capital(about(alert)));
    setText(part.state, STATES[alert.status]);
    setText(part.severity, String(alert.severity ?? 1));
    setText(part.since, moment(alert.onset));
    setText(part.lasted, span(alert.onset, alert.status === "resolved" ? alert.updated : (clock ?? alert.updated)));
    setText(part.peak, count(alert.peak));
    setText(part.team, alert.team === "none" ? "–" : alert.team);
    setWords(part.taken, alert.acknowledged ?? "–");
  });
}

function createAlert(alert) {
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, el("a", { href: pageOf(alert), "data-part": "about" })),
    el("td", { class: "state", "data-part": "state" }),
    el("td", { class: "n", "data-part": "severity" }),
    el("td", { "data-part": "since" }),
    el("td", { class: "n", "data-part": "lasted" }),
    el("td", { class: "n", "data-part": "peak" }),
    el("td", { "data-part": "team" }),
    el("td", { "data-part": "taken" }),
  );
}

function showTeams() {
  const { window } = RANGES[range()];
  const rates = brand?.scores[window]?.gap_by_team ?? {};
  setText($("teams-hint"), WINDOW_NAMES[window]);
  const teams = Object.entries(rates).filter(([team]) => team !== "none");
  each($("teams").tBodies[0], teams, ([team]) => team, ([team]) =>
    el("tr", {}, el("th", { scope: "row" }, team), ...["mentions", "below", "above"].map((name) => el("td", { class: name === "mentions" ? "n" : `n ${name}`, "data-part": name }))),
  (row, [, rate]) => {
    const part = parts(row);
    setText(part.mentions, count(rate.mentions));
    setText(part.below, percent(rate.below));
    setText(part.above, percent(rate.above));
  });
}
