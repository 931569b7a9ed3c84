// One card a brand: its score, how it came about, and where it falls short.

import { each, el, parts, setAttributes, setText, setWords, svg } from "./dom.js";
import { STAGES, TOUCHPOINTS, WINDOW_NAMES, capital, count, percent, points, short } from "./format.js";
import { about, fact } from "./story.js";
import { drawTrend, emptyTrend } from "./trend.js";

const LEAST_SCALE = 0.3; // gap bars are as long as this share at least

/** Shows a card for each brand, over the window chosen; bars of all cards have one scale. */
export function showBrands(cards, { brands, trends, alerts }, window) {
  const rates = brands.flatMap((brand) => Object.values(brand.scores[window]?.gap_by_touchpoint ?? {}));
  const scale = Math.max(LEAST_SCALE, ...rates.flatMap((rate) => [rate.below, rate.above]));
  each(cards, brands, (brand) => brand.key, createCard, (card, brand) => {
    updateCard(card, brand, trends[brand.key] ?? [], window);
    showGaps(parts(card), brand.scores[window], scale);
    const open = alerts.filter((alert) => alert.brand === brand.key && alert.status !== "resolved");
    setText(parts(card).alarm, open.length ? `▲ ${open.map(about).join(", ")}` : "");
  });
}

function createCard() {
  return el(
    "article",
    { class: "card" },
    el(
      "header",
      {},
      el("h3", {}, el("a", { "data-part": "name" })),
      el("span", { class: "alarm", "data-part": "alarm", title: "Open alert" }),
      el("span", { class: "few", "data-part": "few", title: "Too few mentions to lean on the score" }, "few mentions"),
    ),
    el(
      "div",
      { class: "headline" },
      el(
        "p",
        { class: "score" },
        el("strong", { "data-part": "score" }),
        el("span", { class: "margin", "data-part": "margin" }),
        el("span", { class: "caption", "data-part": "caption" }),
      ),
      el("figure", { class: "trend" }, emptyTrend(), el("figcaption", { "data-part": "trend" })),
    ),
    el(
      "dl",
      { class: "facts" },
      fact("Mentions", "mentions"),
      fact("Authors", "authors"),
      fact("Share of voice", "voice"),
      fact("Ideas", "ideas"),
    ),
    el(
      "section",
      { class: "gaps" },
      el(
        "h4",
        {},
        "Gaps",
        el("span", { class: "key below" }, "▼ below"),
        el("span", { class: "key above" }, "▲ above expectation"),
      ),
      el("ul", { class: "gap-rows", "data-part": "gaps" }),
      el("p", { class: "calm", "data-part": "no-gaps" }, "No mention tells of a gap."),
    ),
    el(
      "section",
      { class: "stages" },
      el("h4", {}, "Engagement"),
      el("div", { class: "stack", "data-part": "stack", role: "img" }),
      el("ul", { class: "legend", "data-part": "legend" }),
    ),
    el("p", { class: "calm empty", "data-part": "empty" }),
  );
}

function updateCard(card, brand, trend, window) {
  const part = parts(card);
  const score = brand.scores[window];
  const judged = Boolean(score && score.score !== null);
  setWords(part.name, brand.name);
  setAttributes(part.name, { href: `/brands/${encodeURIComponent(brand.key)}` });
  card.classList.toggle("silent", !score || score.mentions === 0);
  part.few.hidden = !(judged && score.few);
  setText(part.score, judged ? points(score.score) : "–");
  setText(part.margin, judged && score.margin !== null ? `± ${Math.round(score.margin)}` : "");
  setText(part.caption, `advocacy, ${WINDOW_NAMES[window]}`);
  setText(
    part.empty,
    score?.mentions
      ? ""
      : `No mentions in the ${WINDOW_NAMES[window]}. Posts that name ${brand.name} appear here within seconds.`,
  );
  setText(part.trend, drawTrend(card.querySelector("svg"), trend, brand.scores["1h"]));
  setText(part.mentions, score ? short(score.mentions) : "–");
  setText(part.authors, score ? short(score.authors) : "–");
  setText(part.ideas, score ? short(score.suggestions) : "–");
  setText(part.voice, score && score.share_of_voice !== null ? percent(score.share_of_voice) : "–");
  setAttributes(part.voice, {
    title: brand.rivals.length ? `against ${brand.rivals.map((rival) => rival.name).join(", ")}` : "no rivals configured",
  });
  showStages(part, score);
}

/** A row for all, then for each touchpoint spoken of. */
function showGaps(part, score, scale) {
  const rates = score?.gap_by_touchpoint ?? {};
  const rows = TOUCHPOINTS.filter((name) => rates[name]?.mentions > 0).map((name) => ({
    name,
    ...rates[name],
  }));
  const told = rows.some((row) => row.below > 0 || row.above > 0);
  part["no-gaps"].hidden = told;
  const all = { name: "all", ...score?.gap };
  each(part.gaps, told ? [all, ...rows] : [], (row) => row.name, createGap, (row, gap) =>
    updateGap(row, gap, scale),
  );
}

function createGap() {
  return el(
    "li",
    {},
    el("span", { class: "name", "data-part": "name" }),
    el("span", { class: "number below", "data-part": "below" }),
    el(
      "span",
      { class: "two-ways", "aria-hidden": "true" },
      el("span", { class: "half" }, el("i", { class: "below", "data-part": "down" })),
      el("span", { class: "half" }, el("i", { class: "above", "data-part": "up" })),
    ),
    el("span", { class: "number above", "data-part": "above" }),
  );
}

function updateGap(row, gap, scale) {
  const part = parts(row);
  setAttributes(row, { title: `${count(gap.mentions)} mentions` });
  row.classList.toggle("all", gap.name === "all");
  setText(part.name, capital(gap.name));
  setText(part.below, percent(gap.below));
  setText(part.above, percent(gap.above));
  setAttributes(part.below, { "aria-label": `${percent(gap.below)} below expectation` });
  setAttributes(part.above, { "aria-label": `${percent(gap.above)} above expectation` });
  part.down.style.width = `${(100 * gap.below) / scale}%`;
  part.up.style.width = `${(100 * gap.above) / scale}%`;
}

function showStages(part, score) {
  const total = score?.mentions || 1;
  const stages = STAGES.map((name) => ({ name, share: (score?.stages[name] ?? 0) / total }));
  each(part.stack, stages, (stage) => stage.name, (stage) => el("i", { class: stage.name }), (bar, stage) => {
    bar.style.width = `${100 * stage.share}%`;
  });
  setAttributes(part.stack, {
    "aria-label": stages.map((stage) => `${stage.name} ${percent(stage.share)}`).join(", "),
  });
  each(part.legend, stages, (stage) => stage.name, createStage, (item, stage) =>
    setText(parts(item).share, percent(stage.share)),
  );
}

function createStage(stage) {
  return el(
    "li",
    {},
    svg("svg", { class: `swatch ${stage.name}`, viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { width: 10, height: 10, rx: 2 })),
    capital(stage.name),
    " ",
    el("b", { "data-part": "share" }),
  );
}
