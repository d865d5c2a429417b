// Views of the steps, of one step, and of one group.
"use strict";

const FILTERS = ["status", "problem", "reward", "only"];

// Columns of the list of steps, in the order of STEP_FIGURES in build.py, with their decimals.
const STEP_COLUMNS = [["reward", 3], ["D", 3], ["T", 2], ["length", 1], ["truncated", 3], ["masked", 3],
  ["all solved", 3], ["none solved", 3], ["entropy", 3], ["seconds", 2]];

async function showSteps() {
  const front = await report.load("front");
  report.shown = front.steps;
  const rows = [...front.steps].reverse().map((item) => el("tr", { "data-item": item.level ? stepLink(item.step) : null },
    figure(item.level ? el("a", { href: stepLink(item.step) }, item.step) : item.step),
    item.figures.map((value, place) => figure(fixed(value, STEP_COLUMNS[place][1]))),
    el("td", { class: "quiet" }, { all: "all", signal: "groups with signal", none: "figures only" }[item.level] || ABSENT)));
  const headers = [...figureHeaders("step", ...STEP_COLUMNS.map(([name]) => name)), "texts"];
  return [el("div", { class: "bar" }, el("h1", {}, `Steps (${rows.length})`), copyButton()),
    rows.length ? table(headers, rows, { id: "steps" }) : el("p", { class: "quiet" }, "No step is done yet.")];
}

const LOST = { deadline: "missed the deadline", failed: "engines died" };

// Groups of a step that were never judged, with the reason; they have no completions to show.
async function lostTiles(step) {
  const front = await report.load("front");
  const lost = front.steps.find((item) => item.step === step)?.lost || {};
  return Object.entries(lost).filter(([, count]) => count > 0)
    .map(([reason, count]) => tile("dropped, not judged", count, LOST[reason]));
}

async function showStep(step, query) {
  const data = await report.loadStep(step);
  const filter = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) || ""]));
  const groups = data.groups.filter((group) => group.rows.some((row) => matches(row, group, filter)))
    .sort((first, second) => (second.spread ?? -1) - (first.spread ?? -1) || first.index - second.index);
  const rows = groups.flatMap((group) => group.rows.filter((row) => matches(row, group, filter)));
  report.shown = { step, groups: groups.map((group) => ({ ...group, rows: group.rows.map(({ ...row }) => row) })) };
  const chart = el("div", { class: "chart", id: "reward-length" });
  drawRewardAgainstLength(chart, rows);
  return [
    await stepHeading(step, `Step ${step}`),
    stepTiles(data, await lostTiles(step)),
    filterBar(data, filter, (changed) => { location.hash = withQuery(stepLink(step), changed); }),
    el("section", {}, el("figure", {}, el("figcaption", {}, el("strong", {}, "Reward against length"),
      el("br"), "Each point is a completion, a cross one that reached the length limit. A click opens it."), chart)),
    el("section", {}, el("h2", {}, `Groups, by the spread of their rewards (${groups.length} of ${data.groups.length})`),
      groupTable(groups)),
  ];
}

async function stepHeading(step, title) {
  const steps = await report.listSteps();
  const place = steps.indexOf(step);
  const link = (target, text, key) => (target === undefined ? el("span", { class: "quiet" }, text)
    : el("a", { href: stepLink(target), "data-key": key }, text));
  return el("div", { class: "bar" }, el("h1", {}, title),
    link(steps[place - 1], "\u2190 previous step", "p"), link(steps[place + 1], "next step \u2192", "n"), copyButton());
}

function stepTiles(data, lost) {
  const summary = summarizeRows(data.rows);
  const withSignal = data.groups.filter((group) => group.signal).length;
  const dropped = data.groups.filter((group) => !group.trained).length;
  const outcomes = data.groups.map((group) => group.outcome);
  const solved = (outcome) => countKnown(outcomes.map((each) => (each === null ? null : each === outcome)));
  const counts = new Map();
  for (const row of data.rows) counts.set(row.status, (counts.get(row.status) || 0) + 1);
  return el("section", { class: "tiles" },
    tile("mean reward", number(summary.mean), summary.passed === null ? "" : `${summary.passed} of ${data.rows.length} passed`),
    tile("groups with signal", summary.judged ? `${withSignal} of ${data.groups.length}` : ABSENT),
    tile("all solved", number(solved("all solved")), "groups"),
    tile("none solved", number(solved("none solved")), "groups"),
    tile("dropped", dropped, "groups"),
    ...lost,
    tile("mean length", number(summary.tokens, 1), "tokens"),
    tile("truncated", percent(mean(data.rows.map((row) => row.at_limit).filter((value) => value !== null))),
      summary.masked === null ? "" : `${summary.masked} masked`),
    ...[...counts].sort((first, second) => second[1] - first[1]).map(([status, count]) => tile(status ?? ABSENT, count)));
}

// Does a completion pass the filter of the step's page?
function matches(row, group, filter) {
  if (filter.status && row.status !== filter.status) return false;
  if (filter.problem && !row.question.toLowerCase().includes(filter.problem.toLowerCase())) return false;
  if (filter.reward === "0" && row.reward !== 0) return false;
  if (filter.reward === "1" && row.reward !== 1) return false;
  if (filter.reward === "between" && !(row.reward > 0 && row.reward < 1)) return false;
  if (filter.reward === "none" && row.reward !== null) return false;
  if (filter.only === "signal" && !group.signal) return false;
  if (filter.only === "truncated" && !row.at_limit) return false;
  if (filter.only === "masked" && !row.masked) return false;
  if (filter.only === "dropped" && group.trained) return false;
  return true;
}

function choice(name, label, options, value, onchange) {
  return el("label", {}, label, el("select", { name, onchange },
    options.map(([option, text]) => el("option", { value: option, selected: option === value }, text))));
}

const REWARD_OPTIONS = [["", "any"], ["1", "1"], ["0", "0"], ["between", "between"], ["none", "unknown"]];

function filterBar(data, filter, change) {
  const bar = el("form", { class: "bar filters", onsubmit: (event) => event.preventDefault() });
  const update = () => change(Object.fromEntries(FILTERS.map((name) => [name, bar.elements[name].value])));
  const statuses = [...new Set(data.rows.map((row) => row.status).filter((status) => status !== null))].sort();
  bar.append(
    choice("status", "status", [["", "any"], ...statuses.map((status) => [status, visible(status)])], filter.status, update),
    el("label", {}, "problem", el("input", { name: "problem", type: "search", value: filter.problem, onchange: update,
      placeholder: "part of the id" })),
    choice("reward", "reward", REWARD_OPTIONS, filter.reward, update),
    choice("only", "only", [["", "everything"], ["signal", "groups with signal"], ["truncated", "truncated"],
      ["masked", "masked"], ["dropped", "dropped groups"]], filter.only, update),
  );
  return bar;
}

const PASSED_COLOR = 2; // green, place in COLORS
const FAILED_COLORS = [0, 1, 3, 4, 5, 6, 7];

function drawRewardAgainstLength(place, rows) {
  const isPassed = (status) => status === "passed";
  const statuses = [...new Set(rows.map((row) => row.status))].sort((first, second) => isPassed(second) - isPassed(first));
  const parts = statuses.map((status) => rows.filter((row) => row.status === status && row.reward !== null));
  const series = parts.map((part, index) => ({
    name: statuses[index] ?? ABSENT, kind: "points", color: isPassed(statuses[index]) ? PASSED_COLOR : FAILED_COLORS[index % FAILED_COLORS.length],
    x: part.map((row) => row.tokens),
    y: part.map((row) => row.reward + spreadOut(row)),
    symbols: part.map((row) => (row.at_limit ? "x" : "circle")),
    texts: part.map((row) => `${row.question}, sample ${row.sample}: reward ${number(row.reward)}, ${row.tokens} tokens`),
  }));
  drawWhenVisible(place, { unit: "reward", horizontal: "response tokens", series, limits: [-0.12, 1.12] },
    (curve, point) => { const row = parts[curve][point]; location.hash = stepLink(row.step, row.group, row.sample); });
}

// A fixed small offset, so that completions with one reward and one length do not hide each other.
function spreadOut(row) {
  return (((row.group * 7 + row.sample * 13) % 17) - 8) / 100;
}

function groupTable(groups) {
  const headers = [...figureHeaders("group"), "problem", ...figureHeaders("passed", "mean reward", "spread", "length", "truncated", "masked"), ""];
  return table(headers, groups.map((group) => el("tr", { "data-item": stepLink(group.rows[0].step, group.index) },
    figure(el("a", { href: stepLink(group.rows[0].step, group.index) }, group.index)),
    el("td", { class: "id" }, el("a", { href: problemLink(group.question) }, group.question)),
    figure(`${number(group.passed)}/${group.rows.length}`), figure(fixed(group.mean, 3)), figure(fixed(group.spread, 3)),
    figure(fixed(group.tokens, 1)), figure(number(group.atLimit)), figure(number(group.masked)),
    el("td", {}, groupBadges(group)))), { id: "groups" });
}

function groupBadges(group) {
  const badges = [];
  if (group.outcome === "all solved" || group.outcome === "none solved") badges.push(badge("note", group.outcome));
  if (group.excluded) badges.push(badge("bad", `${group.excluded} excluded: sandbox_error`));
  if (!group.trained) badges.push(badge("bad", `dropped: ${dropReason(group)}`));
  return badges;
}

function dropReason(group) {
  if (!group.judged) return "no completion was judged";
  return group.signal ? "the batch was complete" : "rewards are all equal";
}

async function showGroup(step, index, query) {
  const data = await report.loadStep(step);
  const group = data.groups[index];
  if (!group) return [el("p", { class: "error" }, `Step ${step} has no group ${index}.`)];
  const texts = await report.loadGroupTexts(step, index);
  const sibling = group.rows.findIndex((row) => row.status === "passed");
  const isDiff = query.get("diff") === "1" && sibling >= 0;
  report.shown = { ...group, texts };
  const link = (target, text, key) => (data.groups[target] ? el("a", { href: stepLink(step, target), "data-key": key }, text)
    : el("span", { class: "quiet" }, text));
  return [
    el("div", { class: "bar" }, el("h1", {}, `Step ${step}, group ${index}`),
      link(index - 1, "\u2190 previous group", "p"), link(index + 1, "next group \u2192", "n"),
      el("a", { href: stepLink(step), "data-key": "u" }, "\u2191 step"),
      el("a", { href: problemLink(group.question) }, "this problem through all steps"), copyButton()),
    el("p", {}, group.question, " ", groupBadges(group)),
    el("section", { class: "tiles" }, tile("passed", `${number(group.passed)}/${group.rows.length}`), tile("mean reward", number(group.mean)),
      tile("spread", number(group.spread)), tile("mean length", number(group.tokens, 1)), tile("truncated", number(group.atLimit))),
    texts ? el("details", { open: true }, el("summary", {}, "Prompt"), el("pre", { id: "prompt" }, excerpt(texts.prompt)))
      : el("p", { class: "quiet" }, "This report has only the figures of this group: see \u201cAbout this report\u201d on the overview."),
    sibling >= 0 && texts ? el("label", { class: "check" }, el("input", { type: "checkbox", id: "diff", checked: isDiff,
      onchange: (event) => { location.hash = withQuery(stepLink(step, index), { diff: event.target.checked ? "1" : "" }); } }),
    `Compare the programs with that of sample ${group.rows[sibling].sample}, which passed`) : null,
    el("div", { class: "cards" }, group.rows.map((row, place) => groupCard(row, place, texts, isDiff ? sibling : -1))),
  ];
}

function groupCard(row, place, texts, sibling) {
  const sample = texts && texts.samples[place];
  const program = sample && programText(sample);
  let content = sample && answerNodes(sample);
  let remark = null;
  if (sample && sibling >= 0) {
    const reference = programText(texts.samples[sibling]) || "";
    if (program === null) remark = "no program: the answer is shown";
    else if (sibling === place) [remark, content] = ["the program to compare with", highlighted(program, sample.spans)];
    else if (program === reference) [remark, content] = ["the same program", highlighted(program, sample.spans)];
    else [remark, content] = ["differences", diffNodes(reference, program)];
  }
  return el("article", { class: "card", "data-item": stepLink(row.step, row.group, row.sample) },
    el("div", {}, el("a", { href: stepLink(row.step, row.group, row.sample) }, `sample ${row.sample}`), " ", statusBadge(row.status),
      row.at_limit ? badge("note", "truncated") : null, row.masked ? badge("note", "masked") : null),
    el("div", { class: "quiet" }, `reward ${number(row.reward)}, advantage ${number(row.advantage)}, ${number(row.tokens)} tokens`),
    remark ? el("div", { class: "quiet" }, remark) : null,
    content ? el("pre", {}, content) : null);
}

const MAX_DIFF_LINES = 600;

// Lines of `after` against `before`: the longest common subsequence is shown as unchanged.
function diffNodes(before, after) {
  const first = before.split("\n").slice(0, MAX_DIFF_LINES);
  const second = after.split("\n").slice(0, MAX_DIFF_LINES);
  const common = Array.from({ length: first.length + 1 }, () => new Uint16Array(second.length + 1));
  for (let i = first.length - 1; i >= 0; i -= 1) {
    for (let j = second.length - 1; j >= 0; j -= 1) {
      common[i][j] = first[i] === second[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const lines = [];
  const left = Math.max(before.split("\n").length, after.split("\n").length) - MAX_DIFF_LINES;
  let i = 0;
  let j = 0;
  while (i < first.length || j < second.length) {
    if (i < first.length && j < second.length && first[i] === second[j]) {
      lines.push(el("span", { class: "same" }, `  ${first[i]}`));
      i += 1;
      j += 1;
    } else if (j >= second.length || (i < first.length && common[i + 1][j] >= common[i][j + 1])) {
      lines.push(el("span", { class: "removed" }, `\u2212 ${first[i]}`));
      i += 1;
    } else {
      lines.push(el("span", { class: "added" }, `+ ${second[j]}`));
      j += 1;
    }
  }
  if (left > 0) lines.push(el("span", { class: "cut" }, `\u2026 ${left} lines are not compared \u2026`));
  return lines;
}
