// What is chosen on the page. It stands in the address, so that a link shows the same again.

const SPREADS = { interval: "mean and 95 % interval", mean: "mean alone", seeds: "every seed" };

const DEFAULTS = {
  quantity: "test_accuracy",
  show: SEEDS.length > 2 ? "interval" : "seeds", // of two seeds an interval says little
  phases: "auto",
  published: true,
  cost: "flops",
  teacher: false,
  weights: 0,
  setting: DATA.opens_on,
  seed: SEEDS[0],
  round: 0,
};
// The values that each facet is narrowed down to; a facet that is not here shows all of its own.
const ONLY = "only.";
const ALL = "*";

const state = { ...DEFAULTS, only: {} };

// Which sections a choice changes; whatever else there is changes all of them.
const AFFECTS = {
  quantity: ["curves"],
  phases: ["curves"],
  published: ["curves"],
  show: ["curves", "cost"],
  cost: ["cost"],
  teacher: ["cost"],
  weights: ["weights"],
  setting: ["chosen", "curves"],
  seed: ["chosen"],
  round: ["chosen"],
};

function toHash() {
  const words = new URLSearchParams();
  for (const [key, usual] of Object.entries(DEFAULTS)) {
    if (state[key] !== usual) words.set(key, String(state[key]));
  }
  for (const [facet, values] of Object.entries(state.only)) {
    for (const value of values) words.append(ONLY + facet, String(value));
    if (!values.length) words.append(ONLY + facet, "");
  }
  for (const facet of Object.keys(narrowed())) {
    if (!(facet in state.only)) words.append(ONLY + facet, ALL);
  }
  return words.toString();
}

// Raises nothing: what a link asks for and this study does not have is left out.
function readHash(hash) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const read = { ...DEFAULTS, only: { ...narrowed() } };
  for (const [key, text] of words) {
    if (key.startsWith(ONLY)) continue;
    const value = understood(key, text);
    if (value !== undefined) read[key] = value;
  }
  for (const facet of FACETS) {
    const texts = words.getAll(ONLY + facet.name);
    if (texts.includes(ALL)) delete read.only[facet.name];
    else if (texts.length) {
      read.only[facet.name] = facet.values.filter((value) => texts.includes(String(value)));
    }
  }
  Object.assign(state, read);
}

function understood(key, text) {
  switch (key) {
    case "quantity":
      return QUANTITIES.includes(text) ? text : undefined;
    case "show":
      return Object.hasOwn(SPREADS, text) ? text : undefined;
    case "cost":
      return COSTS.includes(text) ? text : undefined;
    case "published":
    case "teacher":
      return text === "true";
    case "phases":
      return ["auto", "none"].includes(text) ||
        [...LABELS.keys()].some((number) => String(number) === text)
        ? text
        : undefined;
    case "setting":
      return [...LABELS.keys()].find((number) => String(number) === text);
    case "seed":
      return SEEDS.find((seed) => String(seed) === text);
    case "weights":
    case "round": {
      const round = Number(text);
      return Number.isInteger(round) && round >= 0 && round <= LAST_ROUND ? round : undefined;
    }
    default:
      return undefined;
  }
}

const sections = {}; // each with its function that draws it
let waiting = null;

function change(part) {
  for (const key of ["setting", "seed"])
    if (key in part) part[key] = understood(key, String(part[key]));
  Object.assign(state, part);
  const hash = toHash();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  const named = Object.keys(part).flatMap((key) => AFFECTS[key] ?? Object.keys(sections));
  redraw(new Set(named));
}

function redraw(names) {
  for (const update of followers) update();
  if (waiting) {
    for (const name of names) waiting.add(name);
    return;
  }
  waiting = names;
  requestAnimationFrame(() => {
    const due = waiting;
    waiting = null;
    for (const name of due) sections[name]();
    document.body.dataset.drawn = Number(document.body.dataset.drawn ?? 0) + 1;
  });
}

const redrawAll = () => redraw(new Set(Object.keys(sections)));

window.addEventListener("hashchange", () => {
  if (document.getElementById(location.hash.slice(1))) return; // a section
  readHash(location.hash);
  redrawAll();
});
