// Settings: how they differ, how their lines look, and which of them are shown.

// A facet is what settings or their chains differ in, and can be narrowed down to.
const distinguishing = (name) =>
  different(SETTINGS.map((setting) => setting[name]).filter((value) => value !== null)).length > 1;

const FACETS = [
  ...DATA.identity.filter(distinguishing).map((name) => ({
    name,
    values: ascending(different(SETTINGS.map((setting) => setting[name]))),
  })),
  ...(SEEDS.length > 1 ? [{ name: "seed", values: SEEDS }] : []),
];

const WORDS = {
  noise: (setting) => setting.noise_title,
  weight_decay: (setting) => `λ ${setting.weight_decay}`,
  teacher: ({ teacher }) =>
    ({ none: "no teacher", outside: "teacher from outside" })[teacher] ?? `${teacher} teacher`,
  teacher_model: (setting) => `taught by ${setting.teacher_model}`,
  teacher_objective: (setting) => `its objective ${setting.teacher_objective}`,
  alpha: (setting) => `α ${setting.alpha}`,
  temperature: (setting) => `τ ${setting.temperature}`,
  criterion: (setting) => `criterion ${setting.criterion}`,
  scope: (setting) => `${setting.scope} pruning`,
  schedule: (setting) => `${setting.schedule} schedule`,
  keep: ({ keep }) => (keep === "none" ? "all layers pruned" : `kept: ${keep}`),
};

const wordFor = (setting, name) => (name in WORDS ? WORDS[name](setting) : `${setting[name]}`);

function labelOf(number) {
  const setting = SETTINGS[number];
  const named = FACETS.filter(({ name }) => name !== "seed" && setting[name] !== null);
  const names = named.length ? named.map(({ name }) => name) : ["dataset", "noise", "model"];
  return names.map((name) => wordFor(setting, name)).join(" · ");
}

const LABELS = [...SETTINGS.keys()].map(labelOf);

// What all settings share, in words.
function everywhere() {
  const shared = DATA.identity.filter((name) => !distinguishing(name));
  return shared.flatMap((name) => {
    const one = SETTINGS.find((setting) => setting[name] !== null);
    if (!one || (name === "teacher" && one.teacher === "none")) return [];
    return [wordFor(one, name)];
  });
}

// Lines differ in colour, dash and marker at once: any one of them is enough to tell them apart.
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const STROKES = { solid: "", dash: "7 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "12 4" };
const SYMBOLS = {
  circle: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z",
  square: "M-4,-4H4V4H-4Z",
  diamond: "M0,-5L5,0L0,5L-5,0Z",
  "triangle-up": "M0,-5L5,4H-5Z",
  "triangle-down": "M0,5L5,-4H-5Z",
  x: "M-4,-2L-2,-4L0,-2L2,-4L4,-2L2,0L4,2L2,4L0,2L-2,4L-4,2L-2,0Z",
  hexagon: "M0,-5L4.3,-2.5V2.5L0,5L-4.3,2.5V-2.5Z",
};
const COLOURS = 8;

function lookOf(number) {
  return {
    colour: ink(`line-${number % COLOURS}`),
    dash: DASHES[number % DASHES.length],
    symbol: Object.keys(SYMBOLS)[number % Object.keys(SYMBOLS).length],
  };
}

// A large study opens on few enough settings to be looked at.
const MANY = 12;

function narrowed() {
  const only = {};
  let left = SETTINGS;
  for (const { name } of FACETS) {
    if (left.length <= MANY || name === "seed") break;
    const value = SETTINGS[DATA.opens_on][name];
    if (left.some((setting) => setting[name] !== value)) {
      only[name] = [value];
      left = left.filter((setting) => setting[name] === value);
    }
  }
  return only;
}

const allows = (name, value) => !(name in state.only) || state.only[name].includes(value);

const visibleSettings = () =>
  [...SETTINGS.keys()].filter((number) =>
    FACETS.every(({ name }) => name === "seed" || allows(name, SETTINGS[number][name])),
  );

const visibleSeeds = () => SEEDS.filter((seed) => allows("seed", seed));

const visibleRows = (setting) =>
  ROWS_OF_SETTING.get(setting).filter((row) => allows("seed", COLUMNS.seed[row]));

function narrow(facet, value, wanted) {
  const now = facet.values.filter((one) => (one === value ? wanted : allows(facet.name, one)));
  const only = { ...state.only, [facet.name]: now };
  if (now.length === facet.values.length) delete only[facet.name];
  change({ only });
}

function filters() {
  const fields = FACETS.map((facet) => {
    const boxes = facet.values.map((value) => {
      const box = element("input", {
        type: "checkbox",
        onchange: () => narrow(facet, value, box.checked),
      });
      follow(() => {
        box.checked = allows(facet.name, value);
      });
      const like = SETTINGS.find((setting) => setting[facet.name] === value);
      const text = facet.name === "noise" ? like.noise_title : value === null ? "none" : `${value}`;
      return element("label", {}, box, text);
    });
    return element(
      "fieldset",
      { "data-facet": facet.name },
      element("legend", {}, nameOf(facet.name)),
      ...boxes,
    );
  });
  const all = element(
    "button",
    { type: "button", onclick: () => change({ only: {} }) },
    "Show all",
  );
  document.getElementById("filters").replaceChildren(...fields, FACETS.length ? all : "");
}

function sample({ colour, dash, symbol }) {
  const picture = drawing("svg", {
    width: 44,
    height: 14,
    viewBox: "0 -7 44 14",
    "aria-hidden": "true",
  });
  picture.append(
    drawing("line", {
      x1: 0,
      x2: 44,
      stroke: colour,
      "stroke-width": 2,
      "stroke-dasharray": STROKES[dash],
    }),
    drawing("path", { d: SYMBOLS[symbol], fill: colour, transform: "translate(22 0)" }),
  );
  return picture;
}

function key() {
  const settings = visibleSettings();
  const seeds = visibleSeeds();
  const chains = different(
    settings.flatMap((one) => visibleRows(one).map((row) => COLUMNS.chain[row])),
  );
  document.getElementById("counted").textContent =
    `${settings.length} of ${counted(SETTINGS.length, "setting")}, ` +
    `${counted(seeds.length, "seed")}, ${counted(chains.length, "chain")} drawn`;
  document
    .getElementById("key")
    .replaceChildren(...settings.map((one) => element("li", {}, sample(lookOf(one)), LABELS[one])));
}
