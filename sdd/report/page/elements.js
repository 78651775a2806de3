// Elements of the page. Texts are set as texts, never as markup.

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null)
      made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function drawing(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const NARROW = "(max-width: 56rem)"; // as page.css has it

const within = (section, part) => document.querySelector(`#${section} .${part}`);

// Each control says how it follows the state, for when a link has changed that.
const followers = [];

function follow(update) {
  followers.push(update);
  update();
}

// A label above its control, and whatever else belongs to it.
function labelled(label, control, kind = "", ...more) {
  const name = element("label", { for: control.id }, label);
  return element("div", { class: `control ${kind}` }, name, ...more, control);
}

function select(label, key, options) {
  const list = element("select", {
    id: `choose-${key}`,
    onchange: () => change({ [key]: list.value }),
  });
  follow(() => {
    list.replaceChildren(...options().map(([value, text]) => element("option", { value }, text)));
    list.value = String(state[key]);
  });
  return labelled(label, list);
}

function checkbox(label, key) {
  const box = element("input", {
    type: "checkbox",
    id: `choose-${key}`,
    onchange: () => change({ [key]: box.checked }),
  });
  follow(() => {
    box.checked = state[key];
  });
  return labelled(label, box, "inline");
}

// A slider over rounds; `said` gives its value in words.
function slider(label, key, said) {
  const id = `choose-${key}`;
  const output = element("output", { for: id });
  const range = element("input", {
    type: "range",
    id,
    min: 0,
    max: LAST_ROUND,
    step: 1,
    oninput: () => change({ [key]: Number(range.value) }),
  });
  follow(() => {
    range.value = state[key];
    output.textContent = said(state[key]);
    range.setAttribute("aria-valuetext", said(state[key]));
  });
  return labelled(label, range, "slider", output);
}
