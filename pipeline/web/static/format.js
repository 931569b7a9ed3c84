// Numbers and times as people read them.

const whole = new Intl.NumberFormat();
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const worded = new Intl.NumberFormat("en", { notation: "compact", compactDisplay: "long", maximumSignificantDigits: 2 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const clockSeconds = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const dayClock = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

export const count = (n) => whole.format(n);
export const short = (n) => (n < 10_000 ? whole.format(n) : compact.format(n));
export const rate = (n) => (n < 10 ? n.toFixed(1) : whole.format(Math.round(n)));
export const percent = (share) => {
  const value = share * 100;
  return `${value > 0 && value < 1 ? "<1" : Math.round(value)} %`;
};
export const points = (score) => {
  const rounded = Math.round(score);
  return rounded > 0 ? `+${rounded}` : rounded < 0 ? `−${-rounded}` : "0";
};
export const expected = (n) => (n < 10 ? n.toFixed(1) : whole.format(Math.round(n)));

/** The hour, with the day where it is not that of `now`. */
export function time(iso, now) {
  const at = new Date(iso);
  const sameDay = now && new Date(now).toDateString() === at.toDateString();
  return (sameDay ? clock : dayClock).format(at);
}

const languages = new Intl.DisplayNames(["en"], { type: "language" });

/** A language's English name. */
export const language = (code) => languages.of(code);

export const seconds = (iso) => clockSeconds.format(new Date(iso));

/** How long from one time to another, roughly: `4 min`, `3 h`, `2 d`. */
export function span(from, to) {
  const minutes = Math.max(0, Math.round((new Date(to) - new Date(from)) / 60_000));
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.round(minutes / 60)} h`;
  return `${Math.round(minutes / 1440)} d`;
}

export function duration(totalSeconds) {
  if (totalSeconds < 60) return `${Math.floor(totalSeconds)} s`;
  return span(0, totalSeconds * 1000);
}

/** A small probability as odds: `1 in 40 thousand`. */
export function odds(probability) {
  return probability > 1e-12 ? `1 in ${worded.format(1 / probability)}` : "below 1 in a trillion";
}

export const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);

/** The day and the hour, always both. */
export const moment = (at) => dayClock.format(new Date(at));

/** How long a silence lasts, as people choose it. */
export const LENGTHS = [
  [30, "30 minutes"],
  [60, "1 hour"],
  [240, "4 hours"],
  [720, "12 hours"],
  [1440, "1 day"],
  [10_080, "1 week"],
];

export const STAGES = ["consumption", "curation", "creation", "collaboration"];
export const TOUCHPOINTS = ["product", "delivery", "support", "warranty", "price", "marketing"];
export const WINDOW_NAMES = { "1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days" };
