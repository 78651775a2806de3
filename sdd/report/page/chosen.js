// One round: its learning curves, its facts, and how it came to be.

function chosenControls() {
  within("chosen", "controls").replaceChildren(
    select("Setting", "setting", () => LABELS.map((label, at) => [String(at), label])),
    select("Seed", "seed", () =>
      ascending(different(ROWS_OF_SETTING.get(state.setting).map((row) => COLUMNS.seed[row]))).map(
        (seed) => [String(seed), String(seed)],
      ),
    ),
    slider("Round to look at", "round", (round) => {
      const row = rowOf(state.setting, state.seed, round);
      const sparsity = row === undefined ? null : COLUMNS.sparsity[row];
      return known(sparsity) ? `${round}, sparsity ${number(sparsity)} %` : `${round}`;
    }),
  );
}

const FIELDS = DATA.epochs.fields;
const field = (row, name) => DATA.epochs.curves[row][FIELDS.indexOf(name)];

// Accuracies above, losses below.
const PARTS = {
  y: FIELDS.filter((name) => name.includes("accuracy")),
  y2: FIELDS.filter((name) => name.includes("loss")),
};
const LEARNED = {
  accuracy: "accuracy on the noisy labels",
  clean_accuracy: "accuracy on the true labels",
  loss: "loss",
};

function learning(row, quiet) {
  const epochs = field(row, "epoch").map((epoch) => epoch + 1);
  const rates = field(row, "learning_rate");
  return Object.entries(PARTS).flatMap(([yaxis, names]) =>
    names
      .filter((name) => field(row, name).some(known))
      .map((name, at) => ({
        type: "scatter",
        mode: epochs.length > 60 ? "lines" : "lines+markers",
        x: epochs,
        y: field(row, name),
        yaxis,
        line: {
          color: quiet ? ink("quiet") : ink(`line-${yaxis === "y" ? at : 2}`),
          dash: DASHES[at + (quiet ? 2 : 0)],
          width: quiet ? 1 : 2,
        },
        marker: { symbol: Object.keys(SYMBOLS)[at], size: quiet ? 3 : 5 },
        text: epochs.map((epoch, index) =>
          [
            `<b>${plain(LEARNED[name] ?? nameOf(name))}</b>, round ${COLUMNS.round[row]}`,
            `epoch ${epoch}: <b>${number(field(row, name)[index])}</b>`,
            `learning rate ${number(rates[index])}`,
          ].join("<br>"),
        ),
        hovertemplate: "%{text}<extra></extra>",
        name: quiet ? "dense round" : (LEARNED[name] ?? nameOf(name)),
        showlegend: !quiet || (at === 0 && yaxis === "y"),
      })),
  );
}

function drawChosen() {
  const seeds = ROWS_OF_SETTING.get(state.setting).map((row) => COLUMNS.seed[row]);
  const seed = seeds.includes(state.seed) ? state.seed : seeds[0];
  const row = rowOf(state.setting, seed, state.round);
  const place = within("chosen", "facts");
  if (row === undefined || !field(row, "epoch").length) {
    plot("chosen", [], {}, "");
    within("chosen", "note").textContent =
      row === undefined
        ? "There is no such round."
        : "This round was not trained: early stopping had ended its chain.";
    within("chosen", "numbers").replaceChildren();
    place.replaceChildren(...(row === undefined ? [] : factsOf(row)));
    return;
  }
  const dense = rowOf(state.setting, seed, 0);
  const traces = [
    ...(dense !== row && dense !== undefined ? learning(dense, true) : []),
    ...learning(row, false),
  ];
  plot(
    "chosen",
    traces,
    {
      grid: { rows: 2, columns: 1, pattern: "coupled" },
      xaxis: axis("epoch"),
      yaxis: axis("accuracy [%]", { domain: [0.47, 1] }),
      yaxis2: axis("loss", { domain: [0, 0.4], rangemode: "tozero" }),
      showlegend: true,
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      margin: { t: 70, r: 12, b: 48, l: 48 },
    },
    `Learning curves of round ${state.round}: accuracy and loss by epoch. The same numbers follow as a table.`,
  );
  within("chosen", "note").textContent =
    "On the batches as they were trained." +
    (DATA.epochs.every > 1
      ? ` Every ${DATA.epochs.every} epochs; metrics.json has them all.`
      : "") +
    (dense !== row ? " Grey: the chain's dense round." : "");
  numbersBehind("chosen", `epochs of round ${state.round}`, FIELDS, () =>
    field(row, "epoch").map((_, index) => FIELDS.map((name) => field(row, name)[index])),
  );
  place.replaceChildren(...factsOf(row));
}

function factsOf(row) {
  const of = (name) => decodedOrigin[name][row];
  const round = String(COLUMNS.round[row]).padStart(2, "0");
  const chain = COLUMNS.round[row] ? COLUMNS.chain[row] : COLUMNS.dense_chain[row];
  const folder = `${DATA.origin.results}/${chain}/round${round}`;
  const described = [
    ...DATA.recorded
      .filter((name) => known(COLUMNS[name][row]))
      .map((name) => [nameOf(name), shown(COLUMNS[name][row])]),
    ["processor threads", shown(of("threads"))],
    ["jobs that worked at it", shown(of("runs"))],
    ...Object.entries(of("energy"))
      .filter(([, value]) => known(value))
      .map(([name, value]) => [`energy: ${nameOf(name)}`, shown(value)]),
    ...Object.entries(of("versions")).map(([name, version]) => [name, version]),
    ["sha256 of the weights", of("weights_sha256")],
    ["its files", folder],
  ];
  return [
    element("h3", {}, "Its facts"),
    element(
      "dl",
      {},
      ...described.map(([name, value]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, value)),
      ),
    ),
    element("h3", {}, "Its spec: all that its training depended on"),
    element(
      "pre",
      { tabindex: 0, "aria-label": "spec" },
      JSON.stringify({ ...of("spec"), round: COLUMNS.round[row] }, null, 1),
    ),
  ];
}

const decodedOrigin = Object.fromEntries(
  Object.entries(DATA.origin).map(([name, column]) => [
    name,
    column.codes ? decoded(column) : column,
  ]),
);
