// What all plots share: their colours, their axes, and the axis of sparsities.

const ink = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const faint = (colour) => {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, 0.16)`;
};

const axis = (title, more = {}) => ({
  title: { text: title, standoff: 8 },
  gridcolor: ink("rule"),
  zeroline: false,
  linecolor: ink("quiet"),
  ticks: "outside",
  tickcolor: ink("quiet"),
  automargin: true,
  ...more,
});

const CONFIG = {
  responsive: true,
  displaylogo: false,
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
};

// Draws into a section's place for a plot; `said` is what a screen reader says of it.
function plot(section, traces, layout, said) {
  const place = within(section, "plot");
  place.classList.toggle("empty", !traces.length);
  if (!traces.length) return place;
  place.setAttribute("aria-label", said);
  Plotly.react(
    place,
    traces,
    {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink("ink"), family: "system-ui, sans-serif", size: 13 },
      margin: { t: 16, r: 12, b: 48, l: 48 },
      showlegend: false,
      hovermode: "closest",
      modebar: {
        orientation: "v",
        bgcolor: "rgba(0,0,0,0)",
        color: ink("quiet"),
        activecolor: ink("accent"),
      },
      hoverlabel: { align: "left", bgcolor: ink("raised"), font: { color: ink("ink") } },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      ...layout,
    },
    CONFIG,
  );
  return place;
}

function line(look, points, more = {}) {
  return {
    type: "scatter",
    mode: "lines+markers",
    x: points.map((point) => position(point.sparsity)),
    line: { color: look.colour, dash: look.dash, width: 2 },
    marker: { color: look.colour, symbol: look.symbol, size: 7 },
    hovertemplate: "%{text}<extra></extra>",
    ...more,
  };
}

// The sparse end is where things happen, so sparsity is spread by the logarithm of the weights that
// remain: every round of pruning is equally wide. A network without a weight stands at the end.
const spread = (sparsity) => -Math.log10(1 - sparsity / 100);
const SPARSEST = spread(
  COLUMNS.sparsity.reduce((most, one) => (known(one) && one < 100 ? Math.max(most, one) : most), 0),
);
const END = SPARSEST + Math.max(0.3, 0.15 * SPARSEST);
const position = (sparsity) => (sparsity >= 100 ? END : spread(sparsity));

// The most important first: others go where there is no room.
const TICKS = [0, 90, 99, 99.9, 50, 95, 99.5, 80, 99.8, 20, 99.99, 98, 60, 40];

function sparsityAxis(section) {
  const emptied = COLUMNS.sparsity.some((one) => known(one) && one >= 100);
  const last = emptied ? END : SPARSEST;
  const width = within(section, "plot").clientWidth - 70;
  const shown = [];
  for (const tick of emptied ? [100, ...TICKS] : TICKS) {
    const at = position(tick);
    const room = shown.every((other) => Math.abs(position(other) - at) * (width / last) > 34);
    if (at <= last && room) shown.push(tick);
  }
  return axis(`sparsity [%]${emptied ? " (100: no weight is left)" : ""}`, {
    range: [-0.03 * last, 1.03 * last],
    tickvals: shown.map(position),
    ticktext: shown.map(String),
  });
}

// From the least to the most, with a little room.
function around(values) {
  const some = values.filter(known);
  const low = some.reduce((least, value) => Math.min(least, value), Infinity);
  const high = some.reduce((most, value) => Math.max(most, value), -Infinity);
  const room = 0.05 * (high - low) || 0.5;
  return [low - room, high + room];
}

// The round that a click on a plot has met.
function choosing(place) {
  if (place.dataset.choosing) return;
  place.dataset.choosing = "yes";
  place.on("plotly_click", ({ points: [point] }) => {
    const row = point.customdata;
    if (typeof row !== "number") return;
    change({ setting: COLUMNS.setting[row], seed: COLUMNS.seed[row], round: COLUMNS.round[row] });
  });
}
