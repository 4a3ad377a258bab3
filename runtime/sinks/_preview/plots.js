"use strict";
/* Plots: own SVG, all with one axis of time and one pointer. */
const WINDOWS_S = [60, 120, 300, 600];
const HEIGHT = 132, LEFT = 38, RIGHT = 6, TOP = 8, BOTTOM = 20;
const PLOTS = [
  { title: "Age of result", unit: ms, lines: () => [["p99", (p) => p.age_p99], ["p50", (p) => p.age_p50]] },
  { title: "Results per second", unit: (v) => number(v, 1), lines: () => [["rate", (p) => p.fps]] },
  {
    title: "Stages, p50", unit: ms,
    lines: () => [...new Set(points.flatMap((p) => Object.keys(p.stages)))].filter((stage) => stage !== "capture")
      .map((stage) => [stage, (p) => p.stages[stage]]),
  },
  {
    title: "Temperature", unit: (v) => number(v, 1) + " °C", free: true,
    lines: () => [["board", (p) => p.temperature]], shade: (p) => (p.throttled ? "STALE" : null),
  },
];
let hover = null;            // share of the plots' width under the pointer

for (const plot of PLOTS) {
  plot.card = make("div", "card plot");
  plot.legend = make("div", "legend");
  plot.svg = svg("svg", { role: "img", "aria-label": plot.title });
  plot.card.append(make("h2", "", plot.title), plot.legend, plot.svg);
  $("plots").append(plot.card);
  plot.svg.addEventListener("pointermove", (event) => {
    const box = plot.svg.getBoundingClientRect();
    hover = Math.min(1, Math.max(0, (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT)));
    renderPlots();
  });
  plot.svg.addEventListener("pointerleave", () => { hover = null; renderPlots(); });
}

function renderPlots() {
  if (!points.length) return;
  const now = points[points.length - 1].at, span = now - points[0].at;
  const width_s = WINDOWS_S.find((seconds) => seconds >= span) || WINDOWS_S[WINDOWS_S.length - 1];
  const shown = points.filter((point) => point.at >= now - width_s);
  for (const plot of PLOTS) drawPlot(plot, shown, now, width_s);
}
function niceStep(span) {
  const raw = span / 3, power = 10 ** Math.floor(Math.log10(raw)), share = raw / power;
  return (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10) * power;
}
/* Lowest and highest value and the step of the grid; from zero, unless the plot is free. */
function scaleOf(plot, values) {
  let low = 0, high = Math.max(...values, 1e-3);
  if (plot.free && values.length) { low = Math.floor(Math.min(...values) / 10) * 10; high = Math.max(high, low + 10); }
  const step = niceStep(high - low);
  return [low, low + Math.ceil((high - low) / step - 1e-9) * step, step];
}
function drawPlot(plot, shown, now, width_s) {
  const lines = plot.lines();
  const values = lines.flatMap(([, read]) => shown.map(read)).filter(isNumber);
  const width = plot.svg.clientWidth || 300, right = width - RIGHT, bottom = HEIGHT - BOTTOM;
  const [low, high, step] = scaleOf(plot, values);
  const x = (at) => right - (now - at) / width_s * (right - LEFT);
  const y = (value) => bottom - (value - low) / (high - low) * (bottom - TOP);
  const drawn = [...bands(shown, plot.shade || ((p) => p.state), x, bottom)];
  for (let mark = low; mark <= high + step / 2; mark += step) {
    drawn.push(svg("line", { class: "grid", x1: LEFT, x2: right, y1: y(mark), y2: y(mark) }));
    const text = number(mark, step < 0.1 ? 2 : step < 1 ? 1 : 0);
    if (values.length) drawn.push(svg("text", { x: LEFT - 6, y: y(mark) + 4, "text-anchor": "end" }, text));
  }
  drawn.push(svg("text", { x: LEFT, y: HEIGHT - 5 }, `${width_s / 60} min ago`));
  drawn.push(svg("text", { x: right, y: HEIGHT - 5, "text-anchor": "end" }, "now"));
  lines.forEach(([, read], i) => drawn.push(svg("path", { class: `s${i % 6}`, d: pathOf(shown, read, x, y) })));
  const at = hover === null ? now : now - (1 - hover) * width_s;
  if (hover !== null) drawn.push(svg("line", { class: "now", x1: x(at), x2: x(at), y1: TOP, y2: bottom }));
  plot.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  plot.svg.replaceChildren(...drawn);
  drawLegend(plot, lines, values.length ? nearestPoint(shown, at) : null);
}
function pathOf(shown, read, x, y) {
  let d = "", last = null;
  for (const point of shown) {
    const value = read(point);
    if (isNumber(value)) {
      const joined = last !== null && point.at - last < 4;
      d += `${joined ? "L" : "M"}${x(point.at).toFixed(1)} ${y(value).toFixed(1)}${joined ? "" : "h.01"}`;
      last = point.at;
    } else last = null;
  }
  return d;
}
/* Shades while the state that `read` tells is not LIVE. */
function* bands(shown, read, x, bottom) {
  for (let i = 0; i < shown.length; i++) {
    const from = i, name = read(shown[i]);
    while (i + 1 < shown.length && read(shown[i + 1]) === name) i++;
    if (!name || name === "LIVE") continue;
    const begin = x(shown[from].at), end = x(shown[Math.min(i + 1, shown.length - 1)].at);
    const group = svg("g", { "data-state": name });
    group.append(svg("rect", { class: "band", x: begin, y: TOP, width: Math.max(1, end - begin), height: bottom - TOP }));
    yield group;
  }
}
function nearestPoint(shown, at) {
  return shown.reduce((best, point) => (Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best));
}
function drawLegend(plot, lines, point) {
  const items = !point ? [make("span", "", "nothing measured")] : lines.map(([name, read], i) => {
    const item = make("span"), value = read(point);
    item.append(make("span", `key s${i % 6}`), name, make("b", "", isNumber(value) ? plot.unit(value) : "–"));
    return item;
  });
  plot.legend.replaceChildren(...items);
  plot.svg.setAttribute("aria-label", `${plot.title}: ${items.map((item) => item.textContent).join(", ")}`);
}
