// The feed of mentions with their labels.

import { each, el, parts, setAttributes, setText, setWords } from "./dom.js";
import { language, percent, short, time } from "./format.js";
import { showLink } from "./story.js";

const CHIPS = {
  sentiment: { negative: ["− negative", "bad"], neutral: ["neutral", "dim"], positive: ["+ positive", "good"] },
  gap: { negative: ["▼ below expectation", "bad"], positive: ["▲ above expectation", "good"] },
  advocacy: { detractor: ["detractor", "bad"], passive: ["passive", "dim"], promoter: ["promoter", "good"] },
  suggestion: { 1: ["idea", "plain"] },
};

/** The chips of a mention: label name, words, tone and how sure the model is. */
function chips(mention) {
  if (mention.abstained) {
    const why = mention.abstained === "language" ? language(mention.lang) : "nothing to read";
    return [{ name: "abstained", words: `not judged: ${why}`, tone: "dim", title: "" }];
  }
  const shown = [];
  for (const name of ["gap", "touchpoint", "sentiment", "advocacy", "stage", "suggestion"]) {
    const value = mention.labels[name];
    const known = CHIPS[name];
    if (known ? !(value in known) : value === "none") continue;
    const [words, tone] = known ? known[value] : [value, "plain"];
    shown.push({ name, words, tone, title: `${name}: ${value}, ${percent(mention.sure[name])} sure` });
  }
  return shown;
}

/** Shows the mentions, newest first; ones that come in later are marked as new for a moment. */
export function showMentions(feed, mentions, clock) {
  const first = feed.childElementCount === 0;
  each(
    feed,
    mentions,
    (mention) => mention.key,
    () => createMention(!first),
    (node, mention) => updateMention(node, mention, clock),
  );
}

function createMention(fresh) {
  return el(
    "li",
    { class: fresh ? "mention fresh" : "mention" },
    el(
      "p",
      { class: "by" },
      el("strong", { "data-part": "brand" }),
      el("span", { "data-part": "author", class: "author" }),
      el("time", { "data-part": "at" }),
    ),
    el("p", { class: "text", "data-part": "text" }),
    el("ul", { class: "chips", "data-part": "chips", "aria-label": "Labels" }),
    el(
      "p",
      { class: "by" },
      el("span", { "data-part": "source" }),
      el("span", { "data-part": "followers" }),
      el("span", { "data-part": "link" }),
    ),
  );
}

function updateMention(node, mention, clock) {
  const part = parts(node);
  setWords(part.brand, mention.brand);
  setWords(part.author, mention.author || "someone");
  setAttributes(part.at, { datetime: mention.published });
  setText(part.at, time(mention.published, clock));
  setWords(part.text, mention.text || `${mention.activity} ${mention.object ?? ""}`.trim());
  part.text.classList.toggle("wordless", !mention.text);
  setText(part.source, mention.source);
  setText(part.followers, mention.followers ? `${short(mention.followers)} followers` : "");
  showLink(part.link, mention.url);
  each(part.chips, chips(mention), (chip) => chip.name, () => el("li"), (item, chip) => {
    setAttributes(item, { class: `chip ${chip.tone}`, title: chip.title });
    setText(item, chip.words);
  });
}
