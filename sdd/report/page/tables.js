// Tables that sort by any column and go out as CSV. They stand beside every plot, too.

const FIRST = 200; // rows of a long table, until the others are asked for

const numeric = (cell) =>
  typeof cell === "number" || (cell !== null && cell !== "" && !Number.isNaN(Number(cell)));

const cellText = (cell) => (numeric(cell) ? number(Number(cell)) : shown(cell));

function compare(a, b) {
  const [empty, other] = [a, b].map((cell) => cell === null || cell === undefined || cell === "");
  if (empty || other) return empty - other;
  if (numeric(a) && numeric(b)) return Number(a) - Number(b);
  return String(a).localeCompare(String(b));
}

function csv(header, rows) {
  const field = (cell) => {
    const text = cell === null || cell === undefined ? "" : String(cell);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [header, ...rows].map((row) => `${row.map(field).join(",")}\n`).join("");
}

function download(name, text) {
  const link = element("a", {
    href: URL.createObjectURL(new Blob([text], { type: "text/csv" })),
    download: `${name}.csv`,
  });
  link.click();
  URL.revokeObjectURL(link.href);
}

// An element with the table `name`; `rows` hold numbers, texts and nulls.
function sortable(name, header, rows) {
  let order = rows;
  let limit = FIRST;
  const body = element("tbody");
  const rest = element("button", { type: "button", onclick: () => show(rows.length) });

  function show(most = limit) {
    limit = most;
    body.replaceChildren(
      ...order
        .slice(0, limit)
        .map((row) =>
          element(
            "tr",
            {},
            ...row.map((cell) =>
              element(
                "td",
                numeric(cell) ? { class: "number", "data-value": String(cell) } : {},
                cellText(cell),
              ),
            ),
          ),
        ),
    );
    rest.textContent = `Show all ${rows.length.toLocaleString("en-GB")} rows`;
    rest.hidden = rows.length <= limit;
  }

  const heads = header.map((title, column) => {
    const cell = rows.map((row) => row[column]).find((one) => compare(one, null) !== 0);
    const head = element("th", {
      scope: "col",
      "aria-sort": "none",
      class: numeric(cell ?? null) && "number",
    });
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      // What is not there comes last, whichever way.
      const [there, missing] = [[], []];
      for (const row of rows) (compare(row[column], null) === 0 ? missing : there).push(row);
      there.sort((a, b) => (down ? compare(b[column], a[column]) : compare(a[column], b[column])));
      order = [...there, ...missing];
      show();
    };
    head.append(element("button", { type: "button", onclick: sort }, title));
    return head;
  });
  show();
  const table = element(
    "table",
    { "aria-label": name },
    element("thead", {}, element("tr", {}, ...heads)),
    body,
  );
  const save = element(
    "button",
    { type: "button", "data-download": name, onclick: () => download(name, csv(header, order)) },
    "Download as CSV",
  );
  return element(
    "div",
    {},
    element(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": `${name}, a table` },
      table,
    ),
    element("div", { class: "controls" }, save, rest),
  );
}

// A table behind a heading that opens it, made when it is looked at, since it may be long.
const makers = new WeakMap();

function opened(title, make, attributes) {
  const details = element("details", attributes, element("summary", {}, title));
  details.addEventListener("toggle", () => fill(details));
  makers.set(details, make);
  return details;
}

function fill(details) {
  while (details.childElementCount > 1) details.lastElementChild.remove();
  if (details.open) details.append(makers.get(details)());
}

// The same one in `place` with another table: whoever has opened it finds it open.
function renewed(place, title, make, attributes) {
  const details = place.querySelector("details");
  if (!details) {
    place.replaceChildren(opened(title, make, attributes));
    return;
  }
  makers.set(details, make);
  fill(details);
}

// What a plot shows, as a table, for whoever cannot see it.
function numbersBehind(section, name, header, rows) {
  renewed(
    within(section, "numbers"),
    "The numbers of this plot",
    () => sortable(name, header, rows()),
    {
      class: "numbers-behind",
    },
  );
}

function roundsTable() {
  const rows = visibleSettings()
    .flatMap(visibleRows)
    .map((row) => DATA.recorded.map((name) => COLUMNS[name][row]));
  return sortable("rounds", DATA.recorded, rows);
}

function tables() {
  const every = DATA.tables.map(({ name, header, rows }) =>
    opened(name, () => sortable(name, header, rows), { class: "table", "data-table": name }),
  );
  within("tables", "tables").replaceChildren(...every);
}

function rounds() {
  renewed(
    within("tables", "rounds"),
    "rounds: every round of the settings that are drawn",
    roundsTable,
    {
      class: "table",
      "data-table": "rounds",
    },
  );
}
