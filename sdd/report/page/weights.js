// Histograms of the weights that a round has kept, seeds pooled, a slider over the rounds.

const hasWeights = DATA.weights.some((one) => one !== null);

function weightsControls() {
  if (!hasWeights) return;
  within("weights", "controls").replaceChildren(slider("After round", "weights", saidOfRound));
}

function saidOfRound(round) {
  const row = visibleSettings()
    .flatMap(visibleRows)
    .find((one) => COLUMNS.round[one] === round && known(COLUMNS.sparsity[one]));
  return row === undefined ? `${round}` : `${round}, sparsity ${number(COLUMNS.sparsity[row])} %`;
}

// The same weights in as many bins that reach twice as far: two become one, in the middle.
function widened([reach, counts, beyond]) {
  const wider = new Array(counts.length).fill(0);
  counts.forEach((count, at) => {
    wider[counts.length / 4 + Math.floor(at / 2)] += count;
  });
  return [2 * reach, wider, beyond];
}

function pooled(histograms) {
  const reach = Math.max(...histograms.map(([one]) => one));
  const alike = histograms.map((one) => {
    let wide = one;
    while (wide[0] < reach) wide = widened(wide);
    return wide;
  });
  return {
    reach,
    counts: alike[0][1].map((_, at) => alike.reduce((sum, [, counts]) => sum + counts[at], 0)),
    beyond: alike.reduce((sum, [, , beyond]) => sum + beyond, 0),
  };
}

function histogramOf(setting, round) {
  const rows = visibleRows(setting).filter(
    (row) => COLUMNS.round[row] === round && DATA.weights[row],
  );
  if (!rows.length) return null;
  const { reach, counts, beyond } = pooled(rows.map((row) => DATA.weights[row]));
  const all = counts.reduce((sum, count) => sum + count, beyond);
  const width = (2 * reach) / counts.length;
  return {
    setting,
    seeds: rows.length,
    all,
    reach,
    centres: counts.map((_, at) => -reach + (at + 0.5) * width),
    counts,
    density: counts.map((count) => (count ? count / (all * width) : null)),
  };
}

function drawWeights() {
  if (!hasWeights) {
    within("weights", "plot").classList.add("empty");
    within("weights", "note").textContent =
      "The rounds of this study have not recorded their histograms: they were trained by an older version.";
    return;
  }
  const settings = visibleSettings();
  const found = settings
    .map((one) => histogramOf(one, state.weights))
    .filter((one) => one !== null && one.all > 0);
  const reach = Math.max(0, ...found.map((one) => one.reach));
  plot(
    "weights",
    found.map((one) => {
      const look = lookOf(one.setting);
      return {
        type: "scatter",
        mode: "lines+markers",
        x: one.centres,
        y: one.density,
        line: { color: look.colour, dash: look.dash, width: 1.8, shape: "hvh" },
        marker: {
          color: look.colour,
          symbol: look.symbol,
          size: one.counts.map((_, at) => (at % 8 === 4 ? 6 : 0)),
        },
        connectgaps: false,
        text: one.counts.map((count, at) =>
          [
            `<b>${plain(LABELS[one.setting])}</b>`,
            `around ${number(one.centres[at])}`,
            `${number(count)} of ${number(one.all)} weights`,
          ].join("<br>"),
        ),
        hovertemplate: "%{text}<extra></extra>",
        name: LABELS[one.setting],
      };
    }),
    {
      xaxis: axis("weight", { range: [-reach, reach] }),
      yaxis: axis("density", { type: "log", exponentformat: "power", nticks: 6 }),
    },
    `Histograms of the weights kept in round ${state.weights}, ${counted(found.length, "setting")}. ` +
      "The same numbers follow as a table.",
  );
  within("weights", "note").textContent = found.length
    ? "All prunable layers together, seeds pooled; pruned weights are left out, and so are the widest, at most a thousandth."
    : "No weight is left in this round, or it was not trained.";
  numbersBehind("weights", `weights of round ${state.weights}`, WEIGHTS_HEADER, () =>
    found.flatMap((one) =>
      one.counts.map((count, at) => [
        LABELS[one.setting],
        one.seeds,
        one.centres[at],
        count,
        one.density[at],
      ]),
    ),
  );
}

const WEIGHTS_HEADER = ["setting", "seeds pooled", "middle of the bin", "weights", "density"];
