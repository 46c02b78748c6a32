// The cine: frames as pictures, outlines drawn over them, slider, buttons and toggles.

const NUMBERS = (() => {
  const bytes = unpack(DATA.outlines.data);
  return new Int16Array(bytes.buffer, 0, bytes.length >> 1);
})();
const DRAWN = DATA.structures.slice().sort((a, b) => a.priority - b.priority);
const images = new Map();
const KEPT = 600;

function picture(frame) {
  let image = images.get(frame);
  if (!image) {
    image = new Image();
    image.src = `data:image/webp;base64,${PICTURES.frames[frame]}`;
    images.set(frame, image);
    if (images.size > KEPT) images.delete(images.keys().next().value);
  }
  return image;
}

async function whenReady(frame) {
  const image = picture(frame);
  if (!(image.complete && image.naturalWidth)) await image.decode();
  return image;
}

function outline(name, frame) {
  const index = DATA.outlines.index[name];
  const path = new Path2D();
  if (!index) return null;
  let at = index[frame];
  const end = index[frame + 1];
  if (at === end) return null;
  while (at < end) {
    const points = NUMBERS[at];
    for (let k = 0; k < points; k += 1) {
      const x = NUMBERS[at + 1 + 2 * k] + 0.5;
      const y = NUMBERS[at + 2 + 2 * k] + 0.5;
      if (k === 0) path.moveTo(x, y);
      else path.lineTo(x, y);
    }
    path.closePath();
    at += 1 + 2 * points;
  }
  return path;
}

function middle(name, frame) {
  const index = DATA.outlines.index[name];
  let best = null;
  for (let at = index[frame]; at < index[frame + 1]; at += 1 + 2 * NUMBERS[at]) {
    let [x, y] = [0, 0];
    const points = NUMBERS[at];
    for (let k = 0; k < points; k += 1) {
      x += NUMBERS[at + 1 + 2 * k] / points;
      y += NUMBERS[at + 2 + 2 * k] / points;
    }
    if (!best || points > best[2]) best = [x, y, points];
  }
  return best;
}

// Draw a frame with outlines into a canvas context that is already at the size wanted (pixels).
function paint(context, image, frame, width, names, options) {
  const scale = width / DATA.size.columns;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, Math.round(DATA.size.rows * scale));
  const thick = options.thick / scale;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.lineJoin = "round";
  for (const structure of DRAWN) {
    if (!names.has(structure.name)) continue;
    const path = outline(structure.name, frame);
    if (!path) continue;
    const color = `rgb(${structure.color.join(",")})`;
    if (options.fill && structure.name !== "bolus") {
      context.globalAlpha = 0.13;
      context.fillStyle = color;
      context.fill(path, "evenodd");
    }
    context.globalAlpha = 0.5;
    context.strokeStyle = "#000";
    context.lineWidth = 2.2 * thick;
    context.stroke(path);
    context.globalAlpha = 1;
    context.strokeStyle = color;
    context.lineWidth = thick;
    context.stroke(path);
  }
  if (options.labels) {
    context.font = `600 ${12 / scale * options.density}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (const structure of DRAWN) {
      if (!/^c[1-7]$/.test(structure.name) || !names.has(structure.name)) continue;
      const place = middle(structure.name, frame);
      if (!place) continue;
      context.lineWidth = 3 * thick / 2;
      context.strokeStyle = "rgba(0,0,0,.65)";
      context.strokeText(structure.name.toUpperCase(), place[0], place[1]);
      context.fillStyle = "#fff";
      context.fillText(structure.name.toUpperCase(), place[0], place[1]);
    }
  }
  if (options.landmarks) landmarks(context, frame, thick);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalAlpha = 1;
}

function landmarks(context, frame, thick) {
  const { c2_px: c2, c4_px: c4 } = MEASURES.scale;
  const point = (values) => (values && values[frame] ? values[frame].map((v) => v + 0.5) : null);
  const dot = (place, color) => {
    if (!place) return;
    context.beginPath();
    context.arc(place[0], place[1], 2.6 * thick, 0, 2 * Math.PI);
    context.fillStyle = color;
    context.fill();
    context.lineWidth = 0.8 * thick;
    context.strokeStyle = "#000";
    context.stroke();
  };
  const [upper, lower] = [point(c2), point(c4)];
  if (upper && lower) {
    context.setLineDash([5 * thick, 4 * thick]);
    context.lineWidth = 1.2 * thick;
    context.strokeStyle = "#fff";
    context.beginPath();
    context.moveTo(...upper);
    context.lineTo(...lower);
    context.stroke();
    context.setLineDash([]);
  }
  dot(upper, "#fff");
  dot(lower, "#fff");
  dot(point(MEASURES.curves.bolus_head_px), "#ffe14d");
  dot(point(MEASURES.curves.bolus_tail_px), "#ff9b3d");
}

function makeViewer() {
  const canvas = byId("cine");
  const context = canvas.getContext("2d");
  const slider = byId("slider");
  const airway = new Set(MEASURES.airway ? MEASURES.airway.flagged_frames : []);
  const doubtful = new Set(DATA.not_lateral);
  slider.max = COUNT - 1;
  if (COUNT < 2) document.querySelector(".transport").hidden = true;

  async function draw() {
    const wanted = state.frame;
    slider.value = wanted;
    slider.setAttribute("aria-valuetext", frameText(wanted));
    byId("readout").textContent = `${wanted + 1} / ${COUNT}${TIMES ? ` · ${secondsText(wanted)}` : ""}`;
    const note = [];
    if (LATERAL && airway.has(wanted)) note.push("review: bolus over the airway");
    if (LATERAL && doubtful.has(wanted)) note.push("not a lateral view?");
    byId("frame-note").textContent = note.join(" · ");
    const image = await whenReady(wanted);
    if (wanted !== state.frame) return;
    const density = window.devicePixelRatio || 1;
    const width = Math.max(64, Math.round(canvas.clientWidth * density));
    if (canvas.width !== width) {
      canvas.width = width;
      canvas.height = Math.round(width * DATA.size.rows / DATA.size.columns);
    }
    paint(context, image, wanted, width, state.shown,
      { thick: 1.6 * density, fill: state.fill, labels: true, landmarks: state.landmarks, density });
    canvas.dataset.frame = wanted;
    for (let k = 1; k <= 6; k += 1) picture((wanted + k) % COUNT);
  }

  slider.addEventListener("input", () => { pause(); seek(Number(slider.value)); });
  byId("back").addEventListener("click", () => { pause(); seek(state.frame - 1); });
  byId("forward").addEventListener("click", () => { pause(); seek(state.frame + 1); });
  byId("play").addEventListener("click", () => (state.playing ? pause() : play()));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA|BUTTON|A|SUMMARY)$/.test(event.target.tagName)) return;
    if (event.key === "ArrowLeft") seek(state.frame - 1);
    else if (event.key === "ArrowRight") seek(state.frame + 1);
    else if (event.key === " ") (state.playing ? pause : play)();
    else return;
    if (event.key !== " ") pause();
    event.preventDefault();
  });
  makeToggles();
  on("frame", draw);
  on("look", draw);
  new ResizeObserver(draw).observe(canvas);
  draw();
}

let ticking = 0;

function pause() {
  state.playing = false;
  cancelAnimationFrame(ticking);
  byId("play").textContent = "▶";
}

function play() {
  if (COUNT < 2) return;
  const times = TIMES || Array.from({ length: COUNT }, (_, k) => k / 15);
  if (state.frame === COUNT - 1) seek(0);
  state.playing = true;
  byId("play").textContent = "❚❚";
  let before = performance.now();
  let clock = times[state.frame];
  const tick = (now) => {
    if (!state.playing) return;
    clock += (now - before) / 1000 * Number(byId("speed").value);
    before = now;
    let next = state.frame;
    while (next + 1 < COUNT && times[next + 1] <= clock) next += 1;
    if (clock > times[COUNT - 1] + 0.4) { clock = times[0]; next = 0; }
    seek(next);
    ticking = requestAnimationFrame(tick);
  };
  ticking = requestAnimationFrame(tick);
}

function makeToggles() {
  const box = byId("toggles");
  if (!DATA.structures.length) {
    if (!LATERAL) box.remove();
    return;
  }
  const buttons = new Map();
  const look = () => {
    for (const [name, button] of buttons) button.setAttribute("aria-pressed", state.shown.has(name));
    tell("look");
  };
  const preset = (text, names) => el("button", { type: "button", class: "preset", "data-preset": text,
    onclick: () => { state.shown = new Set(names); look(); } }, text);
  for (const structure of DATA.structures) {
    state.shown.add(structure.name);
    const swatch = el("span", { class: "swatch" });
    swatch.style.background = `rgb(${structure.color.join(",")})`;
    const button = el("button", { type: "button", class: "toggle", "data-structure": structure.name, "aria-pressed": "true",
      onclick: () => {
        if (!state.shown.delete(structure.name)) state.shown.add(structure.name);
        look();
      } }, swatch, structure.title);
    buttons.set(structure.name, button);
    box.append(button);
  }
  const all = DATA.structures.map((s) => s.name);
  box.append(el("span", { class: "gap" }), preset("All", all), preset("None", []),
    preset("Bolus and airway", all.filter((name) => ["bolus", "trachea", "vocal_folds", "laryngeal_vestibule"].includes(name))));
  const option = (key, text) => {
    const button = el("button", { type: "button", class: "preset", "data-option": key, "aria-pressed": String(state[key]),
      onclick: () => {
        state[key] = !state[key];
        button.setAttribute("aria-pressed", state[key]);
        tell("look");
      } }, text);
    return button;
  };
  box.append(option("fill", "Fill"));
  if (MEASURES.scale.c2_px) box.append(option("landmarks", "Landmarks"));
}

// A small picture of a frame, drawn when its data are ready; a click goes to that frame.
function thumbnail(frame, names, lines, kind) {
  const width = 176;
  const canvas = el("canvas", { width, height: Math.round(width * DATA.size.rows / DATA.size.columns) });
  whenReady(frame).then((image) => paint(canvas.getContext("2d"), image, frame, width, new Set(names),
    { thick: 1.6, fill: false, labels: false, landmarks: false, density: 1 }));
  return el("button", { type: "button", class: `thumb ${kind || ""}`, "data-goto": frame, title: `Show ${frameText(frame)}`,
    onclick: () => { pause(); seek(frame); } }, canvas, lines.map((line) => el("span", {}, line)));
}
