// Views of all problems, and of one problem through all steps.
"use strict";

// Groups of each problem, in step order.
async function loadProblems() {
  const index = await report.load("groups");
  const problems = new Map(index.questions.map((question) => [question, []]));
  index.step.forEach((step, place) => {
    problems.get(index.questions[index.question[place]]).push({
      step, group: index.group[place], passed: index.passed[place], size: columnAt(index.size, place),
      share: shareOf(index.passed[place], columnAt(index.judged, place)), // excluded completions do not count
      mean: index.mean[place], spread: index.spread[place], atLimit: index.at_limit[place],
      tokens: index.tokens[place], trained: columnAt(index.trained, place) === 1,
    });
  });
  return problems;
}

async function showProblems(query) {
  const problems = await loadProblems();
  const text = (query.get("problem") || "").toLowerCase();
  const shown = [...problems].filter(([question]) => question.toLowerCase().includes(text));
  const share = (groups) => mean(groups.map((group) => group.share).filter((value) => value !== null));
  const rows = shown.map(([question, groups]) => ({ question, groups: groups.length, first: share(groups.slice(0, 3)),
    last: share(groups.slice(-3)), all: share(groups) }));
  rows.sort((first, second) => ((first.last ?? 2) - (second.last ?? 2)) || (first.question < second.question ? -1 : 1));
  report.shown = rows;
  const limit = Number(query.get("limit") || 500);
  const search = (event) => { location.hash = withQuery("#/problems", { problem: event.target.value }); };
  return [
    el("div", { class: "bar" }, el("h1", {}, `Problems (${shown.length} of ${problems.size})`),
      el("label", {}, "problem", el("input", { type: "search", name: "problem", value: query.get("problem") || "",
        placeholder: "part of the id", onchange: search })), copyButton()),
    el("p", { class: "quiet" }, "Shares of the judged completions that passed, the problems with the lowest share at the end first."),
    table(["problem", ...figureHeaders("groups", "first 3 groups", "last 3", "all")], rows.slice(0, limit).map((row) => el("tr",
      { "data-item": problemLink(row.question) }, el("td", { class: "id" }, el("a", { href: problemLink(row.question) }, row.question)),
      figure(row.groups), figure(percent(row.first)), figure(percent(row.last)), figure(percent(row.all)))), { id: "problems" }),
    rows.length > limit ? el("p", {}, el("a", { href: withQuery("#/problems", { problem: text, limit: 10 * limit }) },
      `${rows.length - limit} more`)) : null,
  ];
}

async function showProblem(question) {
  const problems = await loadProblems();
  const groups = problems.get(question);
  if (!groups) return [el("p", { class: "error" }, `No rollouts of the problem ${question} in this report.`)];
  const names = [...problems.keys()];
  const place = names.indexOf(question);
  report.shown = { question, groups };
  const chart = el("div", { class: "chart" });
  drawWhenVisible(chart, { unit: "share of completions", limits: [-0.03, 1.03], series: [
    { name: "passed", x: groups.map((group) => group.step), y: groups.map((group) => group.share) },
    { name: "at the length limit", x: groups.map((group) => group.step), y: groups.map((group) => shareOf(group.atLimit, group.size)), dash: true },
  ] });
  const link = (name, text, key) => (name === undefined ? el("span", { class: "quiet" }, text)
    : el("a", { href: problemLink(name), "data-key": key }, text));
  const prompt = el("div", {}); // its texts may be large: the rest of the page does not wait for them
  showPrompt(prompt, groups).catch((error) => prompt.replaceChildren(el("p", { class: "error" }, error.message)));
  return [
    el("div", { class: "bar" }, el("h1", {}, question), link(names[place - 1], "\u2190 previous problem", "p"),
      link(names[place + 1], "next problem \u2192", "n"), el("a", { href: "#/problems", "data-key": "u" }, "\u2191 problems"), copyButton()),
    prompt,
    el("section", {}, el("figure", {}, el("figcaption", {}, el("strong", {}, "This problem through all steps")), chart)),
    table([...figureHeaders("step"), "group", ...figureHeaders("passed", "mean reward", "spread", "length", "truncated"), ""], [...groups].reverse().map((group) => el("tr",
      { "data-item": stepLink(group.step, group.group) }, figure(el("a", { href: stepLink(group.step) }, group.step)),
      el("td", {}, el("a", { href: stepLink(group.step, group.group) }, `group ${group.group}`)),
      figure(`${number(group.passed)}/${group.size}`), figure(fixed(group.mean, 3)), figure(fixed(group.spread, 3)),
      figure(fixed(group.tokens, 1)), figure(number(group.atLimit)),
      el("td", {}, group.trained ? null : badge("bad", "dropped")))), { id: "groups" }),
  ];
}

async function showPrompt(place, groups) {
  for (const group of [...groups].reverse()) {
    const texts = await report.loadGroupTexts(group.step, group.group);
    if (texts) {
      place.replaceChildren(el("details", { open: true }, el("summary", {}, "Prompt"), el("pre", { id: "prompt" }, excerpt(texts.prompt))));
      return;
    }
  }
}
