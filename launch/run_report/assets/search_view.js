// Search through all completions: figures of every step, texts of those that the report contains.
"use strict";

const MAX_RESULTS = 200;
let searchNumber = 0; // a search that is not the newest ends

function showSearch(query) {
  const field = (name, type, label, placeholder) => el("label", {}, label,
    el("input", { name, type, value: query.get(name) || "", placeholder, "data-focus": name === "text" && !query.has("run") }));
  const form = el("form", { class: "bar filters", onsubmit: (event) => {
    event.preventDefault();
    const values = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
    location.hash = withQuery("#/search", { ...values, run: String(Number(query.get("run") || 0) + 1) });
  } },
  field("text", "search", "text", "in prompt, answer, program"), field("problem", "search", "problem", "part of the id"),
  field("status", "search", "status", "wrong_answer"), choice("reward", "reward", REWARD_OPTIONS, query.get("reward") || "", () => {}),
  choice("only", "only", [["", "everything"], ["signal", "groups with signal"], ["truncated", "truncated"], ["masked", "masked"],
    ["dropped", "dropped groups"]], query.get("only") || "", () => {}),
  el("button", { type: "submit" }, "Search"));
  const progress = el("p", { class: "quiet", id: "search-progress", role: "status" });
  const results = el("tbody", {});
  if (query.has("run")) {
    runSearch(query, progress, results).catch((error) => progress.replaceChildren(el("span", { class: "error" }, error.message)));
  }
  return [el("div", { class: "bar" }, el("h1", {}, "Search"), copyButton()), form, progress,
    el("div", { class: "scroll" }, el("table", { id: "results" }, el("thead", {}, el("tr", {},
      ["completion", "problem", "status"].map((name) => el("th", {}, name)), figureHeaders("reward", "tokens"), el("th", {}, "where"))),
    results))];
}

async function runSearch(query, progress, results) {
  searchNumber += 1;
  const own = searchNumber;
  const text = (query.get("text") || "").toLowerCase();
  const filter = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) || ""]));
  const found = [];
  const steps = await stepsToSearch(filter.problem);
  report.shown = found;
  let without = 0;
  for (const [place, step] of steps.entries()) {
    if (own !== searchNumber || !progress.isConnected && place > 0 || found.length >= MAX_RESULTS) break;
    progress.textContent = `Searching step ${step} (${place + 1} of ${steps.length}); found ${found.length}`;
    const data = await report.loadStep(step);
    for (const group of data.groups) {
      const rows = group.rows.filter((row) => matches(row, group, filter));
      if (!rows.length) continue;
      const texts = text ? await report.loadGroupTexts(step, group.index) : null;
      if (text && !texts) without += rows.length;
      for (const row of rows) {
        const where = text ? findText(texts, texts && texts.samples[group.rows.indexOf(row)], text) : "";
        if (where === null || found.length >= MAX_RESULTS) continue;
        found.push({ ...row, where });
        results.append(resultRow(row, where));
      }
    }
  }
  if (own !== searchNumber) return;
  const skipped = without ? `; the texts of ${without} completions are not in this report` : "";
  progress.textContent = found.length >= MAX_RESULTS ? `The newest ${MAX_RESULTS} are shown${skipped}` : `${found.length} found${skipped}`;
}

// Steps in which the problem was sampled, newest first.
async function stepsToSearch(problem) {
  const index = await report.load("groups");
  const wanted = new Set(index.questions.flatMap((question, place) => (question.toLowerCase().includes(problem.toLowerCase()) ? [place] : [])));
  return [...new Set(index.step.filter((_, place) => wanted.has(index.question[place])))].reverse();
}

// A piece of text around the first hit; null without one.
function findText(group, sample, text) {
  if (!sample) return null;
  const places = [["prompt", group.prompt], ["answer", sample.answer], ["program", Array.isArray(sample.code) ? null : sample.code]];
  for (const [name, value] of places) {
    if (!value) continue;
    const content = value.head + (value.tail || "");
    const start = content.toLowerCase().indexOf(text);
    if (start >= 0) return `${name}: \u2026${content.slice(Math.max(0, start - 30), start + text.length + 30)}\u2026`;
  }
  return null;
}

function resultRow(row, where) {
  return el("tr", { "data-item": stepLink(row.step, row.group, row.sample) },
    el("td", {}, el("a", { href: stepLink(row.step, row.group, row.sample) }, `step ${row.step}, group ${row.group}, sample ${row.sample}`)),
    el("td", { class: "id" }, row.question), el("td", {}, statusBadge(row.status)), figure(number(row.reward)),
    figure(number(row.tokens)), el("td", { class: "quiet where" }, where));
}
