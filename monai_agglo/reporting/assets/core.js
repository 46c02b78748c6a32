// Data of the page, and the few helpers that everything else uses. Text goes in as text nodes only, never as markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const PICTURES = JSON.parse(document.getElementById("pictures").textContent);
const MEASURES = DATA.measures;
const COUNT = PICTURES.frames.length;
const TIMES = MEASURES.frames.times_s;
const LATERAL = MEASURES.verdict.kind === "lateral";
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);

function attach(node, props, children) {
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function el(tag, props, ...children) {
  return attach(document.createElement(tag), props || {}, children);
}

function svg(tag, props, ...children) {
  return attach(document.createElementNS(SVG, tag), props || {}, children);
}

function unpack(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

// ---- words and numbers

const CODES = { ues_max: "UES max", hyoid_peak: "HY peak", oral: "Oral", rest: "Rest" };

function code(event) {
  return CODES[event] || event.toUpperCase();
}

function unitText(unit) {
  const known = { "%(C2-4)^2": "%(C2–4)²", "%C2-4": "%C2–4", ratio: "", deg: "°", frames: "" };
  return unit in known ? known[unit] : unit;
}

function fixed(value, digits) {
  return value.toFixed(digits).replace("-", "−");
}

function numberText(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "frames") return fixed(value, 0);
  if (unit === "s" || unit === "ratio") return fixed(value, value !== 0 && Math.abs(value) < 0.095 ? 3 : 2);
  return fixed(value, Math.abs(value) >= 100 ? 0 : Math.abs(value) < 1 ? 2 : 1);
}

function secondsText(frame) {
  return TIMES ? `${fixed(TIMES[frame], 3)} s` : "";
}

function frameText(frame) {
  return TIMES ? `frame ${frame + 1} · ${secondsText(frame)}` : `frame ${frame + 1}`;
}

function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function sentence(text) {
  return text ? text.charAt(0).toUpperCase() + text.slice(1) : "";
}

function runsOf(frames) {
  const runs = [];
  for (const frame of frames) {
    const last = runs[runs.length - 1];
    if (last && frame === last[1] + 1) last[1] = frame;
    else runs.push([frame, frame]);
  }
  return runs;
}

// ---- the state of the page: which frame is shown, and who wants to know

const state = { frame: 0, playing: false, shown: new Set(), landmarks: false, fill: true };
const listeners = { frame: [], look: [], edits: [] };

function on(what, listener) {
  listeners[what].push(listener);
}

function tell(what) {
  for (const listener of listeners[what]) listener();
}

function seek(frame) {
  const next = clamp(Math.round(frame), 0, COUNT - 1);
  if (next === state.frame) return;
  state.frame = next;
  tell("frame");
}
