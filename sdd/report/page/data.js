// What the study has left: columns of values, a row a round of every chain.

const DATA = JSON.parse(document.getElementById("data").textContent);

// A text column is kept as each different value once, and for every row which of them it has.
function decoded(column) {
  return column.numbers ?? column.codes.map((code) => column.values[code]);
}

const COLUMNS = Object.fromEntries(
  Object.entries(DATA.columns).map(([name, column]) => [name, decoded(column)]),
);
const ROWS = [...COLUMNS.round.keys()];
const SETTINGS = DATA.settings;

const different = (values) => [...new Set(values)];
const ascending = (values) =>
  [...values].sort((a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)),
  );

const SEEDS = ascending(different(COLUMNS.seed));
const LAST_ROUND = COLUMNS.round.reduce((most, round) => Math.max(most, round), 0);

function grouped(rows, key) {
  const groups = new Map();
  for (const row of rows) {
    const name = key(row);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(row);
  }
  return groups;
}

const ROWS_OF_SETTING = grouped(ROWS, (row) => COLUMNS.setting[row]);

// The row of a round, or undefined.
function rowOf(setting, seed, round) {
  return ROWS_OF_SETTING.get(setting).find(
    (row) => COLUMNS.seed[row] === seed && COLUMNS.round[row] === round,
  );
}
