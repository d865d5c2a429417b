// Views by the address after "#", and the keyboard.
"use strict";

const view = document.getElementById("view");
const frontPage = document.getElementById("front");
let shownNumber = 0;

// An address with the parameters that have a value.
function withQuery(path, values) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== null));
  return query.size ? `${path}?${query}` : path;
}

function parseAddress() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { parts: path.split("/").filter(Boolean), query: new URLSearchParams(query) };
}

function findView({ parts, query }) {
  const numbers = parts.slice(1).map(Number);
  if (parts[0] === "step" && !numbers.every(Number.isInteger)) return unknownAddress();
  switch (parts[0]) {
    case undefined: return null;
    case "steps": return showSteps();
    case "step": return [null, () => showStep(numbers[0], query), () => showGroup(numbers[0], numbers[1], query),
      () => showSample(...numbers)][numbers.length]?.() ?? unknownAddress();
    case "problems": return showProblems(query);
    case "problem": return showProblem(decodeProblem(parts.slice(1).join("/")));
    case "search": return showSearch(query);
    default: return unknownAddress();
  }
}

// The id in an address; one that a person has typed need not be encoded.
function decodeProblem(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function unknownAddress() {
  return [el("p", { class: "error" }, `There is no page ${location.hash} in this report.`)];
}

let shownAddress = "";

async function route() {
  shownNumber += 1;
  const own = shownNumber;
  report.shown = null;
  let content = null;
  try {
    content = await findView(parseAddress());
  } catch (error) {
    content = [el("p", { class: "error" }, error.message)];
  }
  if (own !== shownNumber) return; // the address has changed since
  frontPage.hidden = content !== null;
  view.hidden = content === null;
  view.replaceChildren(...(content || []).flat().filter((item) => item !== null));
  forgetCharts();
  markSection();
  window.scrollTo(0, 0);
  selectWhere((item) => item.dataset.item === shownAddress); // the page that was open before
  shownAddress = location.hash.split("?")[0];
  view.querySelector("[data-focus]")?.focus();
  document.body.dataset.shown = location.hash; // the view is complete, except for charts and a search
}

// Mark the view's entry in the navigation.
function markSection() {
  const section = { undefined: "#/", step: "#/steps", problem: "#/problems" }[parseAddress().parts[0]];
  for (const link of document.querySelectorAll("nav a")) {
    const isCurrent = link.getAttribute("href") === (section ?? `#/${parseAddress().parts[0]}`);
    link.setAttribute("aria-current", isCurrent ? "page" : "false");
  }
}

function selectWhere(isSelected) {
  for (const item of view.querySelectorAll("[data-item]")) {
    item.classList.toggle("selected", isSelected(item));
    if (isSelected(item)) item.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

function selectItem(change) {
  const items = [...view.querySelectorAll("[data-item]")];
  if (!items.length) return;
  const current = items.findIndex((item) => item.classList.contains("selected"));
  const next = Math.min(items.length - 1, Math.max(0, current < 0 ? 0 : current + change));
  selectWhere((item) => item === items[next]);
}

function openSelected() {
  const item = view.querySelector("[data-item].selected");
  if (item) location.hash = item.dataset.item;
}

const help = document.getElementById("help");
const KEYS = {
  j: () => selectItem(1),
  k: () => selectItem(-1),
  u: () => { location.hash = parseAddress().parts[0] === "step" ? "#/steps" : "#/"; },
  c: copyShown,
  "/": () => { location.hash = "#/search"; },
  "?": () => help.showModal(),
  Enter: openSelected,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const { tagName, type } = event.target;
  if (event.key === "Escape") event.target.blur(); // from a field back to the keys
  if (/^(SELECT|TEXTAREA)$/.test(tagName) || (tagName === "INPUT" && type !== "checkbox")) return;
  if (event.key === "Enter" && /^(BUTTON|A|SUMMARY|INPUT)$/.test(tagName)) return;
  const link = /^[jknpu]$/.test(event.key) ? view.querySelector(`[data-key~="${event.key}"]`) : null;
  if (view.hidden && /^[jknpu]$/.test(event.key)) return;
  if (link) location.hash = link.getAttribute("href");
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});

document.getElementById("help-button").addEventListener("click", () => help.showModal());
window.addEventListener("hashchange", route);
drawFrontCharts();
route();
