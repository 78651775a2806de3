// Puts the page together.

function scope() {
  const parts = [
    counted(different(COLUMNS.chain).length, "chain"),
    `rounds 0 to ${LAST_ROUND}`,
    `${SEEDS.length === 1 ? "seed" : "seeds"} ${SEEDS.join(", ")}`,
    ...everywhere(),
    `on ${different(COLUMNS.device.filter(known)).join(", ") || "a device that is not known"}`,
  ];
  document.getElementById("scope").textContent = `${parts.join(" · ")}.`;
}

// A link to a section goes there and leaves the address, which holds what is chosen, alone.
function stay(event) {
  const section = document.querySelector(event.currentTarget.getAttribute("href"));
  event.preventDefault();
  section.tabIndex = -1;
  section.focus();
  section.scrollIntoView();
}

Object.assign(sections, {
  key,
  curves: drawCurves,
  cost: drawCost,
  weights: drawWeights,
  chosen: drawChosen,
  rounds,
});

readHash(document.getElementById(location.hash.slice(1)) ? "" : location.hash);
scope();
claims();
tables();
filters();
curvesControls();
costControls();
weightsControls();
chosenControls();
for (const link of document.querySelectorAll('a[href^="#"]')) link.addEventListener("click", stay);
if (matchMedia(NARROW).matches) document.getElementById("selection").open = false;
redrawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
