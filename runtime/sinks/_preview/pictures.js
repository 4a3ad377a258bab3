"use strict";
/* Pictures: a multipart stream, read here so that the age of what is shown is known. */
const screens = new Map();   // source URI -> what is shown of it
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
let watching = null;

function screenOf(uri) {
  if (screens.has(uri)) return screens.get(uri);
  const figure = make("figure", "card"), box = make("div", "screen"), veil = make("div", "veil");
  const canvas = make("canvas"), caption = make("figcaption");
  canvas.setAttribute("role", "img");
  canvas.width = 640; canvas.height = 360;
  const screen = {
    uri, figure, canvas, veil, captured: null, index: null, next: null, busy: false,
    word: make("b"), age: make("span"), why: make("i"),
    name: make("span", "uri", uri || "source"), badge: make("span", "badge"), facts: make("span"),
  };
  veil.append(screen.word, screen.age, screen.why);
  box.append(canvas, veil);
  caption.append(screen.badge, screen.name, screen.facts);
  figure.append(box, caption);
  $("screens").append(figure);
  screens.set(uri, screen);
  $("main").classList.toggle("many", screens.size > 1);
  return screen;
}
/* The screens of the sources that there are, in their order; those of an earlier run go. */
function keepScreens(uris) {
  const figures = uris.map((uri) => screenOf(uri).figure), shown = [...$("screens").children];
  if (figures.some((figure, i) => figure !== shown[i])) $("screens").append(...figures);
  for (const [uri, screen] of screens) {
    if (uris.includes(uri)) continue;
    screen.figure.remove();
    screens.delete(uri);
  }
  $("main").classList.toggle("many", screens.size > 1);
}

async function show(part) {
  const screen = screenOf(part.source);
  screen.next = part;
  if (screen.busy) return;
  screen.busy = true;
  try {
    while (screen.next) {
      const { body, captured, index } = screen.next;
      screen.next = null;
      const picture = await createImageBitmap(new Blob([body], { type: "image/jpeg" }));
      const { canvas } = screen;
      if (canvas.width !== picture.width || canvas.height !== picture.height) {
        canvas.width = picture.width; canvas.height = picture.height;
      }
      canvas.getContext("2d").drawImage(picture, 0, 0);
      picture.close();
      screen.captured = captured; screen.index = index;
      showState(screen);
    }
  } catch (error) {
    console.warn("a picture could not be shown", error);
  } finally {
    screen.busy = false;
  }
}

function headEnd(bytes) {
  for (let i = 3; i < bytes.length; i++) {
    if (bytes[i] === 10 && bytes[i - 1] === 13 && bytes[i - 2] === 10 && bytes[i - 3] === 13) return i + 1;
  }
  return -1;
}
function takePart(bytes) {
  const start = headEnd(bytes);
  if (start < 0) return null;
  const head = new TextDecoder().decode(bytes.subarray(0, start));
  const field = (name) => (head.match(new RegExp(`^${name}: (.*)$`, "mi")) || [])[1];
  const end = start + Number(field("Content-Length"));
  if (!(bytes.length >= end)) return null;
  return {
    body: bytes.slice(start, end), rest: bytes.subarray(end), index: Number(field("X-Index")),
    source: decodeURIComponent(field("X-Source") || ""), captured: performance.now() - Number(field("X-Age-Ms")),
  };
}
async function watch(signal) {
  const answer = await fetch("stream.mjpg?source=all", { signal, cache: "no-store" });
  if (!answer.ok) throw new Error(`the stream answers ${answer.status}`);
  const reader = answer.body.getReader();
  let held = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held); joined.set(value, held.length);
    held = joined;
    for (let part; (part = takePart(held)); held = part.rest) show(part);
  }
}
async function keepWatching() {
  const mine = watching = new AbortController();
  while (!mine.signal.aborted) {
    try { await watch(mine.signal); } catch (error) { if (!mine.signal.aborted) console.info(String(error)); }
    await pause(1000);
  }
}
