// Data files of the report: each is a script that calls report.receive, since a page on a disk cannot fetch.
"use strict";

// Files of each kind that stay in memory; older ones are loaded again when needed.
const MAX_FILES = [[/^texts_\d+_/, 40], [/^texts_\d+$/, 200], [/^step_/, 200]];

const report = {
  received: new Map(),
  pending: new Map(),
  entries: null, // entries of the list of steps, by step
  shown: null, // what "copy as JSON" copies

  receive(name, value) {
    this.received.set(name, value);
    const [kind, limit] = MAX_FILES.find(([pattern]) => pattern.test(name)) || [null, 0];
    if (!kind) return;
    const names = [...this.received.keys()].filter((key) => kind.test(key));
    for (const key of names.slice(0, -limit)) this.received.delete(key);
  },

  // Load data/NAME.js once; the promise is rejected with a message if there is no such file.
  load(name) {
    if (this.received.has(name)) return Promise.resolve(this.received.get(name));
    if (!this.pending.has(name)) {
      this.pending.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `data/${name}.js`;
        script.onload = () => {
          script.remove();
          this.pending.delete(name);
          resolve(this.received.get(name));
        };
        script.onerror = () => {
          script.remove();
          this.pending.delete(name);
          reject(new Error(`This report has no file data/${name}.js. Reload the page; if that does not help, build the report again.`));
        };
        document.head.append(script);
      }));
    }
    return this.pending.get(name);
  },

  // Load a file whose value is JSON compressed by gzip, in base64; it is unpacked once.
  async loadCompressed(name) {
    const value = await this.load(name);
    if (typeof value !== "string") return value;
    const bytes = Uint8Array.from(atob(value), (character) => character.charCodeAt(0));
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const content = JSON.parse(await new Response(unpacked).text());
    this.received.set(name, content);
    return content;
  },

  stepName(step) {
    return `step_${String(step).padStart(6, "0")}`;
  },

  // Steps whose figures the report has, ascending.
  async listSteps() {
    const front = await this.load("front");
    return front.steps.filter((item) => item.level).map((item) => item.step);
  },

  // Entry of a step in the list of steps; a search asks for it with every group.
  async findEntry(step) {
    if (!this.entries) {
      const front = await this.load("front");
      this.entries = new Map(front.steps.map((item) => [item.step, item]));
    }
    return this.entries.get(step);
  },

  // Not without a look at the list: a file that does not exist would be an error on the console.
  async loadStep(step) {
    const entry = await this.findEntry(step);
    if (!entry || !entry.level) {
      const steps = await this.listSteps();
      if (!steps.length) throw new Error("This report has no steps: the run has no rollout files.");
      throw new Error(`Step ${step} is not in this report, which has ${steps.length} steps from ${steps[0]} to `
        + `${steps.at(-1)}. If the run has got there since, reload the page.`);
    }
    return new StepData(await this.load(this.stepName(step)));
  },

  // Texts of a group: {prompt, samples, tokens}; null if the report has only figures of it.
  async loadGroupTexts(step, group) {
    const entry = await this.findEntry(step);
    if (!entry || !entry.level || entry.level === "none") return null;
    const name = `texts_${String(step).padStart(6, "0")}`;
    const index = await this.load(name);
    const chunk = index.chunks.findIndex((groups) => groups.includes(group));
    if (chunk < 0) return null;
    const content = await this.loadCompressed(`${name}_${chunk}`);
    return { ...content.groups.find((item) => item.group === group), tokens: content.tokens };
  },
};

// A column is a list, or {all: value} where all values are equal.
function columnAt(column, index) {
  return Array.isArray(column) ? column[index] : column.all;
}

// Figures of a step, by completion and by group.
class StepData {
  constructor(page) {
    this.step = page.step;
    this.names = page.names;
    this.columns = page.columns;
    this.groups = [];
    this.rows = [];
    page.questions.forEach((question, index) => {
      const group = { index, question, trained: page.trained[index] === 1, rows: [] };
      for (let place = 0; place < page.sizes[index]; place += 1) {
        const row = this.makeRow(this.rows.length, group);
        group.rows.push(row);
        this.rows.push(row);
      }
      Object.assign(group, summarizeRows(group.rows));
      this.groups.push(group);
    });
  }

  makeRow(index, group) {
    const get = (name) => {
      const value = columnAt(this.columns[name], index);
      return value === undefined ? null : value;
    };
    const named = (name) => (get(name) === null ? null : this.names[get(name)]);
    return {
      step: this.step, group: group.index, question: group.question, sample: get("sample"),
      reward: get("reward"), shaped_reward: get("shaped"), advantage: get("advantage"),
      unmasked_advantage: get("unmasked"), tokens: get("length"), status: named("status"),
      accepted_by: named("accepted"), first_failed: get("first_failed"), tests_passed: get("passed_tests"),
      tests_total: get("tests"), conditions: get("conditions"), mask_draw: get("draw"), temperature: get("temperature"),
      policy_version_min: get("version_min"), policy_version_max: get("version_max"),
      generation_seconds: get("generation"), evaluation_seconds: get("evaluation"),
      at_limit: get("at_limit"), masked: get("masked"), incomplete: get("incomplete"),
      repeated_tail: get("repeated_tail"), trained: group.trained,
    };
  }
}

// Figures of completions; null is unknown. As in metrics.jsonl, completions without a reward do not count as unsolved.
function summarizeRows(rows) {
  const known = rows.filter((row) => row.status !== null);
  const judged = known.filter((row) => row.reward !== null);
  const rewards = rows.map((row) => row.reward).filter((reward) => reward !== null);
  const lengths = rows.map((row) => row.tokens).filter((tokens) => tokens !== null);
  const average = mean(rewards);
  return {
    passed: known.length ? known.filter((row) => row.status === "passed").length : null,
    outcome: findOutcome(judged.filter((row) => row.status === "passed").length, judged.length),
    judged: rewards.length,
    mean: average,
    spread: rewards.length ? Math.sqrt(mean(rewards.map((reward) => (reward - average) ** 2))) : null,
    signal: new Set(rewards).size > 1,
    tokens: mean(lengths),
    atLimit: countKnown(rows.map((row) => row.at_limit)),
    masked: countKnown(rows.map((row) => row.masked)),
    excluded: rows.filter((row) => row.status === "sandbox_error").length,
  };
}

function findOutcome(passed, judged) {
  if (!judged) return null;
  return passed === judged ? "all solved" : (passed ? "mixed" : "none solved");
}

// Number of true values; null if all are unknown.
function countKnown(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.filter(Boolean).length : null;
}

// A share of a whole; null if it is unknown, or if there is nothing.
function shareOf(part, whole) {
  return part === null || !whole ? null : part / whole;
}

function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}
