// What the study found: its table of claims in words, however many columns that table has.

const YES = /^(true|yes)$/i;
const NO = /^(false|no)$/i;

// Columns that the sentences speak of; whatever else there is follows behind them by its name.
const SPOKEN = [
  "claim",
  "unit",
  "ours_mean",
  "ours_low",
  "ours_high",
  "n",
  "seeds_for",
  "holds",
  "paper",
  "paper_claims",
  "paper_setting",
];
// Columns that say of which settings a row is.
const SETTING_COLUMNS = [...DATA.identity, "lambda_opt"];

function records({ header, rows }) {
  return rows.map((cells) => Object.fromEntries(header.map((name, at) => [name, cells[at]])));
}

function badge(row) {
  if (!("holds" in row)) return null;
  const [kind, text] = YES.test(row.holds)
    ? ["holds", "holds"]
    : NO.test(row.holds)
      ? ["fails", "does not hold"]
      : ["open", row.holds || "not decided"];
  return element("span", { class: `badge ${kind}` }, text);
}

function measured({ ours_mean, ours_low, ours_high, unit, n, seeds_for, holds }) {
  // What a teacher from outside has cost nobody knows.
  const missing = holds === "not known" ? holds : "not measured";
  if (!ours_mean) return [element("strong", {}, missing)];
  const seeds = n ? counted(Number(n), "seed") : "";
  const sure = ours_low
    ? `95 % interval ${number(Number(ours_low))} to ${number(Number(ours_high))}, ${seeds}`
    : `${seeds}, no interval`;
  const agree = seeds_for && n ? `; ${seeds_for} of ${n} for it` : "";
  return [
    element("strong", {}, `${number(Number(ours_mean))} ${unit ?? ""}`.trim()),
    ` (${sure}${agree})`,
  ];
}

function theirs({ paper, paper_claims, paper_setting, unit }) {
  const printed = paper ? `${number(Number(paper))} ${unit ?? ""}`.trim() : "";
  const said = [paper_claims, printed].filter(Boolean).join("; ");
  return said && `The paper${paper_setting ? ` (${paper_setting})` : ""}: ${said}`;
}

function sentence(row) {
  const others = Object.entries(row).filter(
    ([name, cell]) => cell !== "" && !SPOKEN.includes(name) && !SETTING_COLUMNS.includes(name),
  );
  return element(
    "li",
    {},
    element("span", {}, badge(row), " ", row.claim),
    element(
      "span",
      {},
      ...measured(row),
      ...others.map(([name, cell]) => `; ${nameOf(name)}: ${cellText(cell)}`),
    ),
    element("span", { class: "theirs" }, theirs(row) ?? ""),
  );
}

// A cell of such a column, with as many words as it needs.
function described(name, cell) {
  if (name === "lambda_opt") return `λ_opt ${cell}`;
  const like = SETTINGS.find(
    (setting) => String(setting[name]) === String(cell) || setting[name] === Number(cell),
  );
  return like && name in WORDS ? wordFor(like, name) : cell;
}

function claims() {
  const place = document.getElementById("findings");
  const table = DATA.tables.find(({ name }) => name === "claims");
  if (!table) {
    place.replaceChildren(
      element(
        "p",
        {},
        "This study compares no settings in the way of the paper's claims (a stronger weight decay, " +
          "or a teacher, against neither), so it claims nothing. What it measured is below.",
      ),
    );
    return;
  }
  const rows = records(table);
  const columns = SETTING_COLUMNS.filter((name) => table.header.includes(name));
  // What some rows do not have, such as a teacher, tells nothing apart by itself.
  const values = (name) => different(rows.map((row) => row[name]).filter((cell) => cell !== ""));
  const varying = columns.filter((name) => values(name).length > 1);
  const common = columns.filter((name) => values(name).length === 1);
  const groups = grouped(rows, (row) =>
    varying
      .filter((name) => row[name] !== "")
      .map((name) => described(name, row[name]))
      .join(" · "),
  );
  const holding = rows.filter((row) => YES.test(row.holds ?? "")).length;
  const failing = rows.filter((row) => NO.test(row.holds ?? "")).length;
  const verdict = table.header.includes("holds")
    ? `Of ${counted(rows.length, "claim")}, ${holding} hold, ${failing} do not` +
      (holding + failing < rows.length
        ? `, ${rows.length - holding - failing} are not decided.`
        : ".")
    : `${counted(rows.length, "comparison")}, seed by seed.`;
  const about = common.map((name) => described(name, values(name)[0]));
  const narrow = matchMedia(NARROW).matches;
  place.replaceChildren(
    element(
      "p",
      { class: "verdict" },
      element("strong", {}, verdict),
      about.length ? ` All on ${about.join(" · ")}.` : "",
    ),
    ...[...groups].map(([name, some], at) =>
      element(
        "details",
        { class: "findings-group", open: at < (narrow ? 1 : 4) },
        element("summary", {}, element("strong", {}, name || "All claims"), ` (${some.length})`),
        element("ul", {}, ...some.map(sentence)),
      ),
    ),
  );
}
