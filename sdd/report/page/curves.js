// Curves of any quantity over sparsity: means with intervals, or every seed.

const isNumbers = (name) => "numbers" in DATA.columns[name];
const IDENTIFYING = [
  ...DATA.identity,
  "study",
  "experiment",
  "chain",
  "seed",
  "round",
  "sparsity",
  "setting",
  "teacher_chain",
  "teacher_round",
];
const QUANTITIES = DATA.recorded.filter((name) => isNumbers(name) && !IDENTIFYING.includes(name));

function curvesControls() {
  within("curves", "controls").replaceChildren(
    select("Quantity", "quantity", () => QUANTITIES.map((name) => [name, nameOf(name)])),
    select("Over seeds", "show", () => Object.entries(SPREADS)),
    select("Shade the phases of", "phases", () => [
      ["auto", "the chosen round's setting"],
      ["none", "no setting"],
      ...visibleSettings().map((one) => [String(one), LABELS[one]]),
    ]),
    ...(SETTINGS.some((one) => one.published.length)
      ? [checkbox("Published points", "published")]
      : []),
  );
}

// The setting whose phases are shaded, or undefined.
function phased(settings) {
  if (state.phases === "none") return undefined;
  if (state.phases !== "auto") return settings.find((one) => String(one) === state.phases);
  return settings.includes(state.setting) ? state.setting : settings[0];
}

function facts(row) {
  const lines = [
    [
      "weights kept",
      `${number(COLUMNS.weights_kept[row])} of ${number(COLUMNS.weights_total[row])}`,
    ],
    ["accuracy [%]: test", number(COLUMNS.test_accuracy[row])],
    ["validation", number(COLUMNS.validation_accuracy[row])],
    ["training, noisy labels", number(COLUMNS.train_accuracy[row])],
    ["FLOPs", number(COLUMNS.flops[row])],
    ["seconds", number(COLUMNS.seconds[row])],
    ["energy [kWh]", number(COLUMNS.energy_kwh[row])],
    ["on", COLUMNS.device[row] ?? "a device that is not known"],
  ];
  return lines.map(([name, value]) => `${plain(name)}: ${plain(value)}`);
}

function hoverOfSeed(setting, row, value) {
  return [
    `<b>${plain(LABELS[setting])}</b>`,
    `seed ${COLUMNS.seed[row]}, round ${COLUMNS.round[row]}, sparsity ${number(COLUMNS.sparsity[row])} %`,
    `${plain(nameOf(state.quantity))}: <b>${number(value)}</b>`,
    ...facts(row),
  ].join("<br>");
}

function hoverOfMean(setting, point, name) {
  const range =
    point.low === null ? "" : `, 95 % interval ${number(point.low)} to ${number(point.high)}`;
  const single = point.rows.length === 1 ? facts(point.rows[0]) : [];
  return [
    `<b>${plain(LABELS[setting])}</b>`,
    `round ${point.round}, sparsity ${number(point.sparsity)} %, ${counted(point.n, "seed")}`,
    `${plain(name)}: <b>${number(point.mean)}</b>${range}`,
    ...single,
  ].join("<br>");
}

function band(look, points) {
  const some = points.filter((point) => point.low !== null);
  if (!some.length) return [];
  const x = some.map((point) => position(point.sparsity));
  return [
    {
      type: "scatter",
      mode: "lines",
      x: [...x, ...x.toReversed()],
      y: [...some.map((point) => point.high), ...some.map((point) => point.low).reverse()],
      fill: "toself",
      fillcolor: faint(look.colour),
      line: { width: 0 },
      hoverinfo: "skip",
    },
  ];
}

function curvesOf(setting, values) {
  const look = lookOf(setting);
  if (state.show !== "seeds") {
    const points = overSeeds(visibleRows(setting), values);
    return [
      ...(state.show === "interval" ? band(look, points) : []),
      line(look, points, {
        y: points.map((point) => point.mean),
        text: points.map((point) => hoverOfMean(setting, point, nameOf(state.quantity))),
        customdata: points.map((point) => point.rows[0]),
        name: LABELS[setting],
      }),
    ];
  }
  return [...grouped(visibleRows(setting), (row) => COLUMNS.chain[row]).values()].map((chain) => {
    const points = overSeeds(chain, values);
    return line(look, points, {
      y: points.map((point) => point.mean),
      text: points.map((point) => hoverOfSeed(setting, point.rows[0], point.mean)),
      customdata: points.map((point) => point.rows[0]),
      name: LABELS[setting],
      line: { color: look.colour, dash: look.dash, width: 1.3 },
      marker: { color: look.colour, symbol: look.symbol, size: 5 },
    });
  });
}

// Points that others have published of the same data, noise and model, and of nothing else.
function publishedPoints(settings) {
  if (!state.published || state.quantity !== "test_accuracy") return [];
  return settings.flatMap((setting) =>
    SETTINGS[setting].published.map(({ source, points }) => {
      const look = lookOf(setting);
      return {
        type: "scatter",
        mode: "markers",
        x: points.map(([sparsity]) => position(sparsity)),
        y: points.map(([, accuracy]) => accuracy),
        marker: { symbol: "star-open", size: 13, color: look.colour, line: { width: 2 } },
        text: points.map(([sparsity, accuracy]) =>
          [
            `<b>${plain(source)}</b>`,
            plain(LABELS[setting]),
            `sparsity ${number(sparsity)} %, test accuracy <b>${number(accuracy)}</b> %`,
          ].join("<br>"),
        ),
        hovertemplate: "%{text}<extra></extra>",
        name: source,
      };
    }),
  );
}

// Bands of the four phases, their edges halfway between rounds, their names on two levels.
function shading(setting) {
  if (setting === undefined) return {};
  const sparsities = new Map(
    overSeeds(ROWS_OF_SETTING.get(setting), COLUMNS.test_accuracy).map(({ round, sparsity }) => [
      round,
      position(sparsity),
    ]),
  );
  const rounds = [...sparsities.keys()];
  const edge = (at) => {
    const [left, right] = [sparsities.get(rounds[at - 1]), sparsities.get(rounds[at])];
    return ((left ?? right) + (right ?? left)) / 2;
  };
  const parts = SETTINGS[setting].phases.map((phase, at) => {
    const x0 = edge(rounds.indexOf(phase.first));
    const x1 = edge(rounds.indexOf(phase.last) + 1);
    return { x0, x1, name: phase.name, odd: at % 2 };
  });
  return {
    shapes: parts.map(({ x0, x1, odd }) => ({
      type: "rect",
      layer: "below",
      xref: "x",
      yref: "paper",
      x0,
      x1,
      y0: 0,
      y1: 1,
      line: { width: 0 },
      fillcolor: ink(odd ? "phase-odd" : "phase-even"),
    })),
    annotations: parts.map(({ x0, x1, name, odd }) => ({
      text: name,
      x: (x0 + x1) / 2,
      y: 1,
      yref: "paper",
      yanchor: "bottom",
      yshift: odd ? 13 : 0,
      showarrow: false,
      font: { size: 11, color: ink("quiet") },
    })),
  };
}

function drawCurves() {
  const settings = visibleSettings();
  const values = COLUMNS[state.quantity];
  const shaded = phased(settings);
  const theirs = publishedPoints(settings);
  const traces = [...settings.flatMap((one) => curvesOf(one, values)), ...theirs];
  const measured = settings.flatMap(visibleRows).map((row) => values[row]);
  const room = [...measured, ...theirs.flatMap(({ y }) => y)];
  const some = measured.some(known);
  const place = plot(
    "curves",
    some ? traces : [],
    {
      xaxis: sparsityAxis("curves"),
      yaxis: axis(nameOf(state.quantity), { range: around(room), nticks: 8 }),
      margin: { t: 36, r: 12, b: 48, l: 48 },
      ...shading(shaded),
    },
    `${nameOf(state.quantity)} over sparsity, ${counted(settings.length, "setting")}, ` +
      `${SPREADS[state.show]}. The same numbers follow as a table.`,
  );
  if (some) choosing(place);
  within("curves", "note").textContent = curvesNote(settings, some, shaded, theirs);
  numbersBehind("curves", `${state.quantity} over sparsity`, curvesHeader(), () =>
    settings.flatMap((setting) => curvesRows(setting, values)),
  );
}

const curvesHeader = () =>
  state.show === "seeds"
    ? ["setting", "seed", "round", "sparsity [%]", nameOf(state.quantity)]
    : ["setting", "seeds", "round", "sparsity [%]", "mean", "95 % interval from", "to", "n"];

function curvesRows(setting, values) {
  if (state.show === "seeds") {
    return visibleRows(setting)
      .filter((row) => known(values[row]))
      .map((row) => [
        LABELS[setting],
        COLUMNS.seed[row],
        COLUMNS.round[row],
        COLUMNS.sparsity[row],
        values[row],
      ]);
  }
  return overSeeds(visibleRows(setting), values).map((point) => [
    LABELS[setting],
    point.rows.map((row) => COLUMNS.seed[row]).join(" "),
    point.round,
    point.sparsity,
    point.mean,
    point.low,
    point.high,
    point.n,
  ]);
}

function curvesNote(settings, some, shaded, theirs) {
  if (!settings.length) return "No setting is left: show more of them.";
  if (!some) return `Nobody measured this here: ${nameOf(state.quantity)}.`;
  const notes = [];
  if (state.show === "interval" && visibleSeeds().length > 1) {
    notes.push(
      "Bands are the 95 % confidence interval of the mean over seeds (Student's t)" +
        (visibleSeeds().length === 2
          ? "; with two seeds it is wide, and may leave the plot."
          : "."),
    );
  }
  if (shaded !== undefined) {
    notes.push(
      SETTINGS[shaded].phases.length
        ? `Shaded: the phases of ${LABELS[shaded]}, told from its mean curves; ${number(DATA.tolerance)} points count as noise.`
        : `${LABELS[shaded]} has no phases: no accuracies were measured.`,
    );
  }
  if (theirs.length) notes.push(`Stars: ${different(theirs.map(({ name }) => name)).join("; ")}.`);
  notes.push("A click on a point chooses its round, which is shown further below.");
  return notes.join(" ");
}
