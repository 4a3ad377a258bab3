"use strict";
/* Words, numbers and elements, as the other scripts need them. */
const $ = (id) => document.getElementById(id);
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const listed = (value) => (Array.isArray(value) ? value : value ? [value] : []);

function number(value, digits = 0) {
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
function ms(value) {
  if (!isNumber(value)) return "–";
  if (value >= 1e4) return number(value / 1e3, 1) + " s";
  return number(value, value < 10 ? 1 : 0) + " ms";
}
function duration(seconds) {
  if (seconds < 60) return number(seconds, 1) + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min " + Math.floor(seconds % 60) + " s";
  return Math.floor(seconds / 3600) + " h " + Math.floor(seconds % 3600 / 60) + " min";
}
function counted(count, thing) { return `${number(count)} ${thing}${count === 1 ? "" : "s"}`; }

const UNITS = {
  c: "°C", hz: "Hz", khz: "kHz", mhz: "MHz", w: "W", mw: "mW", v: "V", mv: "mV", mb: "MB",
  percent: "%", rpm: "rpm", fps: "per second", ms: "ms", s: "s",
};
function named(key) {
  const parts = key.split("_"), unit = parts.length > 1 ? UNITS[parts[parts.length - 1]] : "";
  if (unit) parts.pop();
  return [parts.join(" "), unit ? " " + unit : ""];
}
function words(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (isNumber(value)) return number(value, Number.isInteger(value) ? 0 : Math.abs(value) < 10 ? 2 : 1);
  if (Array.isArray(value)) return value.map(words).join(", ");
  if (typeof value === "object") return Object.values(value).map(words).join(": ");
  return String(value);
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
function svg(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
/* What is the same already is left alone, so that a selection or a screen reader is not disturbed. */
function setText(element, text, warn = false) {
  if (element.textContent !== text) element.textContent = text;
  element.classList.toggle("warn", warn);
}
function setBig(element, value, unit) {
  const key = `${value} ${unit}`;
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  element.replaceChildren(value, make("small", "", unit));
}
/* Rows are [name, text], or [null, text] for a warning over the whole width. */
function setRows(list, rows) {
  const key = JSON.stringify(rows);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...rows.flatMap(([name, text]) =>
    name === null ? [make("dd", "warn", text)] : [make("dt", "", name), make("dd", "", text)]));
}
