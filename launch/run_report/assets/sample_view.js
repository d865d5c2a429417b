// View of one completion.
"use strict";

const STRIP_TOKENS = 512; // tokens of a strip that are shown at a time
const FULL_COLOR = 1000; // thousandths of a nat at which a token has its full colour
const LESS_LIKELY = "210, 60, 45";
const MORE_LIKELY = "45, 110, 210";
const UNKNOWN = "128, 128, 128"; // the learner's log-prob is not recorded

async function showSample(step, index, sample) {
  const data = await report.loadStep(step);
  const group = data.groups[index];
  const place = group ? group.rows.findIndex((row) => row.sample === sample) : -1;
  if (place < 0) return [el("p", { class: "error" }, `Step ${step} has no sample ${sample} in group ${index}.`)];
  const row = group.rows[place];
  const texts = await report.loadGroupTexts(step, index);
  const own = texts ? texts.samples[place] : null;
  const front = await report.load("front");
  report.shown = { ...row, conditions: listConditions(row, front.run), prompt: texts && texts.prompt, ...(own || {}) };
  const link = (target, text, key) => (group.rows[target]
    ? el("a", { href: stepLink(step, index, group.rows[target].sample), "data-key": key }, text)
    : el("span", { class: "quiet" }, text));
  return [
    el("div", { class: "bar" }, el("h1", {}, `Step ${step}, group ${index}, sample ${sample}`),
      link(place - 1, "\u2190 previous", "k p"), link(place + 1, "next \u2192", "j n"),
      el("a", { href: stepLink(step, index), "data-key": "u" }, "\u2191 group"),
      el("a", { href: problemLink(row.question) }, "this problem through all steps"), copyButton()),
    el("p", {}, row.question, " ", statusBadge(row.status), row.at_limit ? badge("note", "truncated") : null,
      row.masked ? badge("note", "masked") : null, ...groupBadges(group)),
    sampleTiles(row),
    el("div", { class: "two" },
      el("section", {}, el("h2", {}, "Verdict"), verdictTable(row), own ? failedTest(own) : null),
      el("section", {}, el("h2", {}, "Mask"), maskTable(row, front.run))),
    ...(own ? sampleTexts(texts, own) : [el("p", { class: "quiet" }, "This report has only the figures of this completion.")]),
  ];
}

function sampleTiles(row) {
  const versions = row.policy_version_min === row.policy_version_max ? number(row.policy_version_min)
    : `${number(row.policy_version_min)}\u2013${number(row.policy_version_max)}`;
  return el("section", { class: "tiles" },
    tile("reward", number(row.reward), row.shaped_reward !== row.reward ? `shaped ${number(row.shaped_reward)}` : ""),
    tile("advantage", number(row.advantage), row.masked ? `${number(row.unmasked_advantage)} before the mask` : ""),
    tile("length", number(row.tokens), "tokens"), tile("temperature", number(row.temperature, 2)),
    tile("policy version", versions), tile("sampled in", number(row.generation_seconds, 2), "seconds"),
    tile("judged in", number(row.evaluation_seconds, 3), "seconds"));
}

function verdictTable(row) {
  return table([], [
    ["status", row.status ?? ABSENT],
    ["tests passed", `${number(row.tests_passed)} of ${number(row.tests_total)}`],
    ["first failed test", number(row.first_failed)],
    ["accepted by", row.accepted_by === null ? ABSENT : `${row.accepted_by} comparison`],
  ].map(([name, value]) => el("tr", {}, el("td", { class: "quiet" }, name), el("td", { class: "text" }, value))));
}

function failedTest(own) {
  const parts = [["Input", own.input], ["Expected", own.expected], ["Actual", own.actual]];
  if (parts.every(([, value]) => value === undefined)) return null;
  return el("div", { id: "failed-test" }, el("h2", {}, "First failed test"), parts.map(([name, value]) => [
    el("div", { class: "quiet" }, name), el("pre", {}, value === undefined ? ABSENT : value)]));
}

// Conditions of the truncation mask in use, [{text, holds}]; the report's build has decided them (mask_conditions.py).
function listConditions(row, run) {
  return run.conditions.map((text, index) => ({
    text: text.replace("{draw}", row.mask_draw === null ? "unknown" : number(row.mask_draw, 4)),
    holds: { 1: true, 0: false }[row.conditions[index]] ?? null,
  }));
}

function maskTable(row, run) {
  const yes = (value) => (value === null ? ABSENT : (value ? "yes" : "no"));
  const conditions = [...listConditions(row, run).map(({ text, holds }) => [text, yes(holds)]), ["masked", yes(row.masked)]];
  return el("div", {}, table([], conditions.map(([name, value]) => el("tr", {}, el("td", { class: "quiet" }, name), el("td", {}, value))), { id: "mask" }),
    el("p", { class: "quiet" }, run.mask === "none" ? "The mask in use (none) masks nothing."
      : `The mask in use (${run.mask ?? ABSENT}) needs all of these conditions.`));
}

function sampleTexts(texts, own) {
  const program = programText(own);
  return [
    el("div", { class: "two" },
      el("section", {}, el("h2", {}, "Prompt"), el("pre", { id: "prompt" }, excerpt(texts.prompt))),
      el("section", {}, el("h2", {}, "Answer"), el("pre", { id: "answer" }, answerNodes(own)))),
    el("section", {}, el("h2", {}, "Extracted program"),
      program === null ? el("p", { class: "quiet" }, "None was found in the answer.")
        : el("pre", { id: "program" }, highlighted(program, own.spans))),
    own.strip ? el("section", {}, el("h2", {}, "Tokens"), tokenStrip(own.strip, texts.tokens)) : null,
  ];
}

function tokenStrip(strip, vocabulary) {
  const detail = el("p", { class: "quiet", id: "token", role: "status" }, "Select a token for its log-probs.");
  const place = el("pre", { class: "strip", id: "strip", onclick: (event) => { // a phone shows no titles
    if (event.target.title) detail.textContent = event.target.title;
  } });
  const positions = strip.windows.flatMap(([start, end]) => Array.from({ length: end - start }, (_, offset) => start + offset));
  const starts = new Map(strip.windows.map(([start]) => [start, start]));
  const pages = Math.ceil(strip.tokens.length / STRIP_TOKENS);
  const buttons = Array.from({ length: pages }, (_, page) => {
    const last = Math.min((page + 1) * STRIP_TOKENS, positions.length) - 1;
    return el("button", { type: "button", onclick: () => show(page) }, `${positions[page * STRIP_TOKENS]}\u2013${positions[last]}`);
  });
  const show = (page) => {
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", index === page));
    place.replaceChildren(...strip.tokens.slice(page * STRIP_TOKENS, (page + 1) * STRIP_TOKENS).flatMap((token, offset) => {
      const index = page * STRIP_TOKENS + offset;
      const gap = index > 0 && starts.has(positions[index])
        ? [el("span", { class: "cut" }, `\u2026 tokens ${positions[index - 1] + 1} to ${positions[index] - 1} are not shown \u2026`)] : [];
      return [...gap, tokenElement(strip, index, positions[index], vocabulary[token])];
    }));
  };
  show(0);
  const legend = strip.learner
    ? "Red: the learner finds the token less likely than the sampler did, or a log-prob is not finite; blue: more likely. "
      + "Full colour at 1 nat."
    : "The learner\u2019s log-probs of this completion are not recorded; the darker, the less likely for the sampler.";
  return el("div", {}, el("p", { class: "quiet" }, legend), pages > 1 ? el("div", { class: "bar", id: "strip-pages" }, buttons) : null,
    place, detail);
}

// Colour of a token, and its strength from 0 to 1.
function tokenColor(sampler, learner) {
  if (sampler === null) return [UNKNOWN, 0];
  if (learner === null) return [UNKNOWN, Math.min(1, -sampler / 5000)];
  return [learner < sampler ? LESS_LIKELY : MORE_LIKELY, Math.min(1, Math.abs(learner - sampler) / FULL_COLOR)];
}

function tokenElement(strip, index, position, text) {
  const sampler = strip.sampler ? strip.sampler[index] : null;
  const learner = strip.learner ? strip.learner[index] : null;
  const nats = (value) => (value === null ? ABSENT : (value / 1000).toFixed(3));
  const isFinite = !(strip.sampler && sampler === null) && !(strip.learner && learner === null);
  const remark = isFinite ? "" : "; a log-prob is not finite";
  const title = `token ${position}: sampler ${nats(sampler)}, learner ${nats(learner)} nats${remark}`;
  const token = el("span", { title }, text.replaceAll("\n", "\u21b5\n"));
  const [color, strength] = isFinite ? tokenColor(sampler, learner) : [LESS_LIKELY, 1];
  if (strength > 0.02) token.style.backgroundColor = `rgba(${color}, ${(0.75 * strength).toFixed(2)})`;
  return token;
}
