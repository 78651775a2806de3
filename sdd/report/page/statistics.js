// Means over seeds and their 95 % intervals.

// Half an interval's width from the deviation (n - 1) of n values; of one value nothing is known.
const halfWidth = (deviation, n) =>
  n > 1 ? (DATA.quantiles[n - 2] * deviation) / Math.sqrt(n) : null;

function summary(values) {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const half = halfWidth(Math.sqrt(squares / (n - 1)), n);
  return {
    n,
    mean,
    low: half === null ? null : mean - half,
    high: half === null ? null : mean + half,
  };
}

const known = (value) => value !== null && value !== undefined;

// One point a round that has a value: over the seeds whose rows these are.
function overSeeds(rows, values) {
  const measured = rows.filter((row) => known(values[row]) && known(COLUMNS.sparsity[row]));
  return [...grouped(measured, (row) => COLUMNS.round[row])]
    .sort(([a], [b]) => a - b)
    .map(([round, some]) => ({
      round,
      rows: some,
      sparsity: summary(some.map((row) => COLUMNS.sparsity[row])).mean,
      ...summary(some.map((row) => values[row])),
    }));
}
