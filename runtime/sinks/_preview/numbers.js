"use strict";
/* Numbers: what is told once a second of the run, its engine and its board. */
let over = false;            // the pointer is over the records, so that they must not move

function render() {
  const { run, facts = {}, pictures = {} } = state;
  setText($("what"), facts.name || facts.task ? words(facts.name ?? facts.task) : "");
  if (!run) return;
  const uris = run.sources.map((source) => source.uri);
  keepScreens([...uris, ...Object.keys(pictures).filter((uri) => !uris.includes(uri))]);
  renderTiles(run);
  renderEngine(run.engine || {}, facts);
  renderBoard(run.board || {});
  const skipped = Object.entries(run.sinks || {}).map(([sink, count]) => [sink, number(count)]);
  $("sinks-card").hidden = !skipped.length;
  setRows($("sinks"), skipped);
  renderStages(run);
  renderPlots();
}
function renderTiles(run) {
  const age = run.recent.age || {}, board = run.board || {};
  const [value, unit] = ms(age.p99_ms).split(" ");
  setBig($("age"), value, unit || "");
  setText($("age-more"), `p50 ${ms(age.p50_ms)}, run ${ms(run.total.age?.p99_ms)}`);
  setBig($("fps"), number(run.fps, 1), "/s");
  const limit = isNumber(board.limit_fps) ? `held to ${number(board.limit_fps, 1)}: ${words(board.limit_reason)}` : "";
  setText($("fps-more"), limit || `${number(run.results)} results in ${duration(run.seconds)}`, Boolean(limit));
  const drops = Object.entries(run.dropped).filter(([, count]) => count);
  setBig($("drops"), number(drops.reduce((sum, [, count]) => sum + count, 0)), "");
  const reasons = drops.map(([why, count]) => `${why} ${number(count)}`).join(", ");
  setText($("drops-more"), `of ${number(run.frames)}${reasons && `: ${reasons}`}`);
}
function renderBoard(board) {
  const { temperature_c, limit_c, throttled, under_voltage, throttle_reasons, limit_fps, limit_reason, ...rest } = board;
  const known = isNumber(temperature_c);
  setBig($("temperature"), known ? number(temperature_c, 1) : "–", known ? "°C" : "");
  const troubles = [throttled && `throttled${throttle_reasons ? `: ${words(throttle_reasons)}` : ""}`];
  if (under_voltage && !String(troubles[0]).includes("under-voltage")) troubles.push("under-voltage");
  const trouble = troubles.filter(Boolean).join(", ");
  const calm = throttled === false ? "not throttled" : known ? "" : "no sensor was found";
  const limit = isNumber(limit_c) ? `limit ${number(limit_c)}\u00a0°C` : "";
  setText($("temperature-more"), [trouble || calm, limit].filter(Boolean).join(", "), Boolean(trouble));
  const rows = Object.entries(rest).filter(([, value]) => value !== null && value !== "");
  // What it is comes first, and zones and sensors, of which there may be many, last.
  const rank = (key) => (key === "model" ? 0 : key.endsWith("_c") ? 2 : 1);
  rows.sort(([a], [b]) => rank(a) - rank(b));
  $("board-card").hidden = !rows.length;
  setRows($("board"), rows.map(([key, value]) => {
    const [name, unit] = named(key);
    return [name, words(value) + unit];
  }));
}
/* "What: why", of a rung that was refused or dropped. */
function because(rung) {
  if (typeof rung !== "object" || rung === null) return words(rung);
  const what = rung.label ?? rung.name ?? rung.rung ?? "a rung";
  return rung.reason ? `${what}: ${rung.reason}` : words(rung);
}
function at(rung) {
  return isNumber(rung?.at) ? ` at ${new Date(rung.at * 1000).toLocaleTimeString()}` : "";
}
function renderEngine(engine, facts) {
  const { name, version, provider, rung, label, refused, refusals, drops, ...rest } = engine;
  const what = label ?? (typeof rung === "string" ? rung : ""), really = provider || facts.provider || "";
  const joint = what.includes(" on ") ? ", really " : " on ";
  const chip = what.endsWith(really) ? what : [what, really].filter(Boolean).join(joint);
  const fallen = listed(drops), no = [...listed(refused), ...listed(refusals)];
  setText($("provider"), chip || really || "no engine yet");
  $("fallen").hidden = !fallen.length && !no.length;
  const counts = [fallen.length && `${counted(fallen.length, "rung")} dropped`, no.length && `${counted(no.length, "rung")} refused`];
  setText($("fallen"), counts.filter(Boolean).join(", "), fallen.length > 0);
  const rows = [["provider", words(really)], ["engine", [name, version].filter(Boolean).join(" ") || "–"]];
  if (what) rows.push(["rung", what]);
  for (const [key, value] of Object.entries(rest)) {
    if (value) rows.push([named(key)[0], words(value) + named(key)[1]]);
  }
  for (const one of fallen) rows.push([null, `dropped${at(one)}, ${because(one)}`]);
  for (const one of no) rows.push([null, `not on ${because(one)}`]);
  setRows($("engine"), rows);
}
function renderStages(run) {
  const now = Object.keys(run.recent).length > 0, times = now ? run.recent : run.total;
  setText($("stages-when"), now ? "in the last interval" : "in the whole run");
  const cell = (value) => make("td", "", isNumber(value) ? number(value, value < 100 ? 1 : 0) : "–");
  $("stages").replaceChildren(...Object.entries(times).map(([stage, t]) => {
    const row = make("tr");
    row.append(make("td", "", stage === "age" ? "age of result" : stage), cell(t.p50_ms), cell(t.p90_ms), cell(t.p99_ms));
    return row;
  }));
}

/* ---- records ---- */
function summary(result) {
  if (result === null || typeof result !== "object") return words(result);
  if (typeof result.label === "string" && isNumber(result.score)) {
    return `${isNumber(result.id) ? `#${result.id} ` : ""}${result.label || result.index} ${number(result.score * 100)} %`;
  }
  const lists = Object.values(result).filter(Array.isArray);
  const things = lists.find((list) => typeof list[0] === "object");
  if (things) return `${things.length}: ${things.slice(0, 6).map(summary).join(", ")}`;
  if (lists.length === 1 && !lists[0].length) return "nothing";
  return JSON.stringify(result).slice(0, 200);
}
$("records").addEventListener("pointerenter", () => { over = true; });
$("records").addEventListener("pointerleave", () => { over = false; });
function renderRecords() {
  if (over || link !== "open") return;
  $("records").replaceChildren(...records.map((record) => {
    const row = make("tr"), text = summary(record.result);
    const source = make("td", "source", record.source), wide = make("td", "wide", text);
    source.title = record.source;
    wide.title = text;
    row.append(make("td", "", number(record.index)), make("td", "", ms(record.latency_ms)), source, wide);
    return row;
  }));
}
