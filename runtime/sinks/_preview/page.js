"use strict";
/* What is known of the run, how it gets here, and what is too old to be believed. */
const OLD_MS = 2000;         // a picture older than this is marked, unless results are slow anyway
const SHOWN_POINTS = 600, SHOWN_RECORDS = 8;
let state = null;            // the newest status event
let points = [];             // what is plotted
let records = [];
let link = "connecting";     // connecting, open, lost, refused, ended, paused
let announced = "";

/* ---- events ---- */
let events = null, retry = 0;
function setLink(value) {
  if (link === value) return;
  link = value;
  tick();
}
function listen() {
  clearTimeout(retry);
  events = new EventSource("results");
  events.onopen = () => setLink("open");
  events.onmessage = (event) => {
    records.unshift(JSON.parse(event.data));
    records.length = Math.min(records.length, SHOWN_RECORDS);
  };
  events.addEventListener("history", (event) => { points = JSON.parse(event.data); });
  events.addEventListener("status", (event) => {
    state = JSON.parse(event.data);
    const { point } = state;
    if (point && (!points.length || points[points.length - 1].at < point.at)) points.push(point);
    if (points.length > SHOWN_POINTS) points.shift();
    setLink("open");
    render();
  });
  events.addEventListener("end", () => { events.close(); setLink("ended"); again(3000); });
  events.onerror = () => { events.close(); if (link !== "ended") setLink("lost"); again(1500); };
}
async function again(milliseconds) {
  clearTimeout(retry);
  retry = setTimeout(async () => {
    try {  // events do not say why they were refused
      const answer = await fetch("status.json", { cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) { setLink("refused"); return again(5000); }
      if (!answer.ok) throw new Error(String(answer.status));
      listen();
    } catch (error) {
      if (link !== "ended") setLink("lost");
      again(1500);
    }
  }, milliseconds);
}
function start() { if (link === "paused") link = "connecting"; listen(); keepWatching(); }
function stop() { clearTimeout(retry); events?.close(); watching?.abort(); link = "paused"; }

/* ---- states: what is old is said to be old ---- */
const WORST = ["LIVE", "CONNECTING", "ENDED", "LATE", "STALE", "LOST", "OFFLINE"];
const NOTICES = {
  lost: "No connection to the device. Trying again …",
  refused: "This preview needs its token: open its address with ?token=… once.",
  ended: "The run has ended. Waiting for the next one …",
};
function patience() {
  const run = state?.run, mean = run && run.seconds > 0 ? run.results / run.seconds : 0;
  return Math.max(OLD_MS, mean > 0 ? 3000 * Math.max(1, screens.size) / mean : 0);
}
function sourceOf(uri) {
  const sources = state?.run?.sources || [];
  return sources.find((source) => source.uri === uri) || (sources.length === 1 ? sources[0] : null);
}
function stateOf(source, captured) {
  if (link === "ended") return ["ENDED", "the run has ended"];
  if (link === "lost" || link === "refused") return ["OFFLINE", "no connection to the device"];
  if (!source && captured === null) return ["CONNECTING", ""];
  if (source && source.state !== "LIVE") return [source.state, source.reason || ""];
  if (captured === null) return ["CONNECTING", "the source is live, there is no result yet"];
  const late = performance.now() - captured > patience();
  return late ? ["LATE", "the source is live, its results are late"] : ["LIVE", ""];
}
function showState(screen) {
  const source = sourceOf(screen.uri);
  const [name, why] = stateOf(source, screen.captured);
  const age = screen.captured === null ? null : performance.now() - screen.captured;
  const old = name !== "LIVE";
  screen.figure.classList.toggle("old", old);
  screen.veil.hidden = !old;
  screen.figure.dataset.state = screen.badge.dataset.state = name;
  setText(screen.badge, name);
  setText(screen.word, name);
  setText(screen.age, age === null ? "no picture yet" : `picture is ${duration(age / 1e3)} old`);
  setText(screen.why, why);
  const facts = [];
  if (screen.index !== null) facts.push(`${screen.canvas.width} × ${screen.canvas.height}`);
  if (age !== null && !old) facts.push(`${age < 1000 ? ms(Math.round(age / 10) * 10) : duration(age / 1e3)} old`);
  if (source?.reconnects) facts.push(counted(source.reconnects, "reconnect"));
  setText(screen.facts, facts.join(" · "));
  const label = `Live picture of ${screen.uri || "the source"}, ${name}`;
  if (screen.canvas.getAttribute("aria-label") !== label) screen.canvas.setAttribute("aria-label", label);
  return name;
}
function tick() {
  if (link === "paused") return;
  const names = [...screens.values()].map(showState);
  if (!names.length) names.push(stateOf(null, null)[0]);
  const worst = WORST[Math.max(...names.map((name) => WORST.indexOf(name)))] || names[0];
  $("state").dataset.state = worst;
  setText($("state"), worst === "OFFLINE" ? "NO CONNECTION" : worst);
  $("notice").dataset.state = link === "ended" ? "ENDED" : "OFFLINE";
  $("notice").hidden = !NOTICES[link];
  setText($("notice"), NOTICES[link] || "");
  const title = `${worst} · Edge SDK`;
  if (document.title !== title) document.title = title;
  if (announced !== worst) { announced = worst; $("announcement").textContent = `Source: ${worst}`; }
}

document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
addEventListener("resize", renderPlots);
setInterval(tick, 100);
setInterval(renderRecords, 500);
if (!document.hidden) start();
