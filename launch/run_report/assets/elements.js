// Elements. Texts become text nodes only: nothing that a program or a model wrote is parsed as HTML.
"use strict";

const ABSENT = "\u2014";

// el("td", {class: "number"}, "text", element, ...). Links lead inside the report only.
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else if (name === "href" && !String(value).startsWith("#/")) throw new Error("links lead inside the report");
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map(asNode));
  return element;
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(visible(String(child)));
}

// Show characters that cannot be seen, or that change the direction of a text, as escapes.
function visible(text) {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (character) => {
      const code = character.codePointAt(0);
      if (character === "\n" || character === "\t") return character;
      const [letter, digits] = code < 256 ? ["x", 2] : (code < 65536 ? ["u", 4] : ["U", 8]);
      return `\\${letter}${code.toString(16).padStart(digits, "0")}`;
    },
  );
}

function number(value, decimals = 3) {
  if (value === null || value === undefined) return ABSENT;
  return Number.isInteger(value) ? String(value) : value.toFixed(decimals);
}

// A number with as many decimals in every row of a table.
function fixed(value, decimals) {
  return value === null || value === undefined ? ABSENT : value.toFixed(decimals);
}

// A cell of a table with a figure; other cells may have long texts.
function figure(value) {
  return el("td", { class: "figure" }, value);
}

function figureHeaders(...names) {
  return names.map((name) => el("th", { class: "figure" }, name));
}

function percent(share) {
  return share === null || share === undefined ? ABSENT : `${Math.round(100 * share)} %`;
}

function tile(label, value, remark = "") {
  return el("div", { class: "tile" }, el("span", { class: "label" }, label),
    el("span", { class: "value" }, value), el("span", { class: "remark" }, remark));
}

function table(headers, rows, attributes = {}) {
  return el("div", { class: "scroll" }, el("table", attributes,
    headers.length ? el("thead", {}, el("tr", {}, headers.map((header) => (header instanceof Node ? header : el("th", {}, header)))))
      : null,
    el("tbody", {}, rows)));
}

function badge(kind, text) {
  return el("span", { class: `badge ${kind}` }, text);
}

function statusBadge(status) {
  return badge(status === "passed" ? "good" : "bad", status === null ? ABSENT : status);
}

function stepLink(step, ...place) {
  return `#/step/${[step, ...place].join("/")}`;
}

function problemLink(question) {
  return `#/problem/${encodeURIComponent(question)}`;
}

// A program with the classes that Pygments found: [length, class, length, class, ...].
function highlighted(code, spans) {
  const parts = [];
  let start = 0;
  for (let index = 0; spans && index < spans.length; index += 2) {
    const text = code.slice(start, start + spans[index]);
    parts.push(spans[index + 1] ? el("span", { class: `h${spans[index + 1]}` }, text) : text);
    start += spans[index];
  }
  if (start < code.length) parts.push(code.slice(start));
  return parts;
}

function excerpt(value, show = (text) => [text]) {
  if (value === null || value === undefined) return [el("span", { class: "quiet" }, ABSENT)];
  if (!value.left_out) return show(value.head);
  return [...show(value.head), el("span", { class: "cut" }, `\u2026 ${value.left_out} characters are not shown \u2026`), value.tail];
}

// Answer of a completion, with its program highlighted where it stands in the answer.
function answerNodes(texts) {
  const place = Array.isArray(texts.code) ? texts.code : null;
  return excerpt(texts.answer, (head) => (place
    ? [head.slice(0, place[0]), ...highlighted(head.slice(place[0], place[1]), texts.spans), head.slice(place[1])]
    : [head]));
}

// Text of the extracted program; null if there is none.
function programText(texts) {
  if (texts.code === undefined || texts.code === null) return null;
  return Array.isArray(texts.code) ? texts.answer.head.slice(...texts.code) : texts.code.head;
}

function copyButton() {
  return el("button", { type: "button", class: "copy", onclick: copyShown }, "Copy as JSON");
}

// JSON in which characters that cannot be seen are escapes: a terminal into which it is pasted would obey them.
function safeJson(value) {
  return JSON.stringify(value, null, 2).replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) => (character === "\n" ? character
    : character.split("").map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")));
}

async function copyShown() {
  const text = safeJson(report.shown ?? await report.load("front"));
  const isCopied = await writeClipboard(text);
  for (const button of document.querySelectorAll("button.copy")) {
    button.textContent = isCopied ? "Copied" : "Copying is not allowed here";
    setTimeout(() => { button.textContent = "Copy as JSON"; }, 1500);
  }
}

async function writeClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { value: text });
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy"); // where the clipboard's interface is not allowed, as on some phones
    area.remove();
    return isCopied;
  }
}
