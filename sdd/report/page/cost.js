// What an accuracy costs: every round is a point, and no other is better and cheaper than those of
// the front. A round costs what its chain has spent until then; its size is its own.

const COSTS = [...DATA.costs, "weights_kept"];

const spending = (teacher) => {
  if (state.cost === "weights_kept") return COLUMNS.weights_kept;
  return COLUMNS[`${teacher ? "total_" : ""}spent_${state.cost}`];
};

const hasTeachers = SETTINGS.some((one) => one.teacher !== "none");

function costControls() {
  within("cost", "controls").replaceChildren(
    select("Cost", "cost", () => COSTS.map((name) => [name, COST_NAMES[name] ?? nameOf(name)])),
    ...(hasTeachers ? [checkbox("Count what the teacher cost", "teacher")] : []),
  );
}

// One point a round: a seed's, or the means over those seeds that have both values.
function costPoints(setting, costs) {
  const rows = visibleRows(setting).filter(
    (row) => costs[row] > 0 && known(COLUMNS.test_accuracy[row]), // none else has a logarithm
  );
  const one = state.show !== "seeds" ? (row) => COLUMNS.round[row] : (row) => row;
  return [...grouped(rows, one).values()].map((some) => ({
    setting,
    rows: some,
    round: COLUMNS.round[some[0]],
    cost: summary(some.map((row) => costs[row])).mean,
    accuracy: summary(some.map((row) => COLUMNS.test_accuracy[row])).mean,
  }));
}

// The points that none is both as cheap and better, or cheaper and as good, than; cheapest first.
function front(points) {
  const ordered = [...points].sort((a, b) => a.cost - b.cost || b.accuracy - a.accuracy);
  const best = [];
  for (const point of ordered) {
    if (!best.length || point.accuracy > best.at(-1).accuracy) best.push(point);
  }
  return best;
}

function frontLine(points, dash, name) {
  const best = front(points);
  return {
    type: "scatter",
    mode: "lines",
    x: best.map(({ cost }) => cost),
    y: best.map(({ accuracy }) => accuracy),
    line: { color: ink("ink"), width: 2, dash, shape: "hv" },
    hoverinfo: "skip",
    name,
  };
}

function costTrace(setting, points) {
  const look = lookOf(setting);
  const what = COST_NAMES[state.cost];
  return {
    type: "scatter",
    mode: "markers",
    x: points.map(({ cost }) => cost),
    y: points.map(({ accuracy }) => accuracy),
    marker: { color: look.colour, symbol: look.symbol, size: 7, opacity: 0.8 },
    text: points.map((point) =>
      [
        `<b>${plain(LABELS[setting])}</b>`,
        `round ${point.round}, seed ${point.rows.map((row) => COLUMNS.seed[row]).join(", ")}, ` +
          `sparsity ${number(COLUMNS.sparsity[point.rows[0]])} %`,
        `test accuracy: <b>${number(point.accuracy)}</b> %`,
        `${plain(what)}: <b>${number(point.cost)}</b>`,
      ].join("<br>"),
    ),
    customdata: points.map(({ rows }) => rows[0]),
    hovertemplate: "%{text}<extra></extra>",
    name: LABELS[setting],
  };
}

function drawCost() {
  const settings = visibleSettings();
  const counts = state.teacher && state.cost !== "weights_kept";
  const pointsBy = (teacher) => settings.map((one) => costPoints(one, spending(teacher)));
  const mine = pointsBy(counts);
  const points = mine.flat();
  const taught = settings.some((one) => SETTINGS[one].teacher !== "none");
  const both = taught && state.cost !== "weights_kept";
  const fronts = points.length
    ? [
        frontLine(points, "solid", "Pareto front"),
        ...(both ? [frontLine(pointsBy(!counts).flat(), "dot", "the other front")] : []),
      ]
    : [];
  const place = plot(
    "cost",
    points.length ? [...settings.map((one, at) => costTrace(one, mine[at])), ...fronts] : [],
    {
      xaxis: axis(COST_NAMES[state.cost], { type: "log", exponentformat: "power", nticks: 6 }),
      yaxis: axis("test accuracy [%]", { nticks: 8 }),
    },
    `Test accuracy against ${COST_NAMES[state.cost]}, ${counted(points.length, "point")}, ` +
      `${counted(front(points).length, "point")} on the Pareto front. The front follows as a table.`,
  );
  if (points.length) choosing(place);
  within("cost", "note").textContent = costNote(settings, points, counts, both);
  numbersBehind("cost", `Pareto front of ${state.cost}`, FRONT_HEADER, () =>
    front(points).map((point) => [
      LABELS[point.setting],
      point.rows.map((row) => COLUMNS.seed[row]).join(" "),
      point.round,
      COLUMNS.sparsity[point.rows[0]],
      point.cost,
      point.accuracy,
    ]),
  );
}

const FRONT_HEADER = ["setting", "seeds", "round", "sparsity [%]", "cost", "test accuracy [%]"];

function costNote(settings, points, counts, both) {
  const trained = settings
    .flatMap(visibleRows)
    .filter((row) => known(COLUMNS.test_accuracy[row])).length;
  const drawn = points.reduce((sum, { rows }) => sum + rows.length, 0);
  if (!points.length) return "Nobody measured this here.";
  const notes = [
    "A point is a round, billed with all rounds that its chain trained before it.",
    counts ? "What its teacher cost is counted." : "",
    both
      ? `Solid: the front of these points; dotted: the front with${counts ? "out" : ""} the teachers' cost.`
      : "The line is the front: nothing is both better and cheaper.",
    drawn < trained
      ? `Without a cost above 0, and so not drawn: ${counted(trained - drawn, "round")}.`
      : "",
  ];
  return notes.filter(Boolean).join(" ");
}
