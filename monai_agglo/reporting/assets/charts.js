// Curves over time, one below the other on one time axis; events above, flagged frames below; a click shows the frame.

const C = MEASURES.curves || {};
const column = (values, k, sign) => values && values.map((v) => (v === null ? null : sign * v[k]));
const rise = (values) => {
  // displacement from where the curve is first seen
  const known = values && values.find((v) => v !== null);
  return known === undefined || known === null ? null : values.map((v) => (v === null ? null : v - known));
};
const PANELS = [
  { title: "Bolus area", unit: "%(C2-4)^2", series: [
    { name: "all", values: C.bolus_area_pct, color: "#c62f2d" },
    { name: "in the pharynx", values: C.bolus_pharynx_pct, color: "#e39a3b" }] },
  { title: "Pharynx and vestibule", unit: "%(C2-4)^2", series: [
    { name: "pharynx", values: C.pharynx_pct, color: "#2f6db5" },
    { name: "vestibule", values: C.vestibule_pct, color: "#8a5bb0" }] },
  { title: "Width of the UES", unit: "%C2-4", series: [{ name: "", values: C.ues_width_pct, color: "#0c8577" }] },
  { title: "Hyoid, from its first place", unit: "%C2-4", series: [
    { name: "forward", values: rise(column(C.hyoid_pct, 0, 1)), color: "#b0376f" },
    { name: "upward", values: rise(column(C.hyoid_pct, 1, -1)), color: "#5a6b7a" }] },
  { title: "Epiglottic angle", unit: "deg", series: [{ name: "", values: C.epiglottic_angle_deg, color: "#a35c12" }] },
].map((panel) => ({ ...panel, series: panel.series.filter((s) => s.values && s.values.some((v) => v !== null)) }))
  .filter((panel) => panel.series.length);

function niceStep(span, wanted) {
  const raw = span / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((k) => k * power).find((step) => step >= raw);
}

function makeCurves() {
  const box = byId("curves");
  if (!LATERAL) return;
  if (COUNT < 2 || !PANELS.length) {
    box.append(el("h2", {}, "Curves"), el("p", { class: "muted" }, `No curves: ${MEASURES.reason || "a single frame has none"}.`));
    return;
  }
  const clock = Array.from({ length: COUNT }, (_, k) => (TIMES ? TIMES[k] : k + 1));
  const [from, to] = [clock[0], clock[COUNT - 1]];
  const head = el("div", { class: "curves-head" }, el("h2", {}, "Curves"),
    el("p", { class: "muted" }, "Click or drag to go to a frame."));
  const stage = el("div", { class: "plots" });
  box.append(head, stage);
  let [root, cursor, update] = [null, null, () => {}];

  function draw() {
    const width = Math.max(280, stage.clientWidth);
    const [left, right] = [40, width - 12];
    const x = (frame) => left + (clock[frame] - from) / (to - from || 1) * (right - left);
    const marks = eventMarks(x);
    const rows = placeMarks(marks, left, right);
    const narrow = width < 520;
    const [top, each, gap] = [rows * 17 + 8, narrow ? 70 : 78, narrow ? 44 : 30];
    const flagged = MEASURES.airway ? MEASURES.airway.flagged_frames : [];
    const strip = MEASURES.airway ? 26 : 0;
    const bottom = top + PANELS.length * (each + gap) + strip;
    const height = bottom + 24;
    root = svg("svg", { width: "100%", viewBox: `0 0 ${width} ${height}`, class: "plot", role: "img",
      "aria-label": "Curves over time with the events of each swallow" });
    const axisEnd = bottom - 6;
    for (const [k, swallow] of MEASURES.swallows.entries()) {
      root.append(svg("rect", { x: x(swallow.first_frame), y: top - 2, class: k % 2 ? "span odd" : "span", height: axisEnd - top,
        width: Math.max(1, x(swallow.last_frame) - x(swallow.first_frame)) }));
    }
    const readings = PANELS.map((panel, k) => drawPanel(root, panel, x, left, right,
      top + k * (each + gap) + (narrow ? 36 : 22), each - 8, narrow));
    for (const mark of marks) {
      root.append(svg("line", { x1: mark.x, x2: mark.x, y1: mark.y + 5, y2: axisEnd, class: "event-line" }));
      root.append(svg("g", { class: mark.corrected ? "event corrected" : "event", tabindex: "0", role: "button",
        "data-event": mark.event, "data-frame": mark.frame, "aria-label": `${code(mark.event)}, ${frameText(mark.frame)}`,
        onclick: (e) => { e.stopPropagation(); pause(); seek(mark.frame); },
        onpointerdown: (e) => e.stopPropagation(),
        onkeydown: (e) => { if (e.key === "Enter") { pause(); seek(mark.frame); } } },
      svg("title", {}, `${mark.title} (${frameText(mark.frame)})`),
      svg("rect", { x: mark.labelX - mark.size / 2, y: mark.y - 9, width: mark.size, height: 15, rx: 4 }),
      svg("text", { x: mark.labelX, y: mark.y + 2.5, "text-anchor": "middle" }, code(mark.event))));
    }
    if (strip) {
      const y = bottom - strip + 4;
      root.append(svg("text", { x: left, y: y + 1, class: "panel-title" }, "Bolus over the airway: frames for review"));
      root.append(svg("rect", { x: left, y: y + 6, width: right - left, height: 7, rx: 2, class: "strip" }));
      const wide = Math.max(2.5, (right - left) / COUNT);
      for (const frame of flagged) root.append(svg("rect", { x: x(frame) - wide / 2, y: y + 6, width: wide, height: 7, class: "strip-on" }));
    }
    drawTimeAxis(root, x, left, right, bottom);
    cursor = svg("g", { class: "cursor" }, svg("line", { y1: top - 2, y2: axisEnd, x1: 0, x2: 0 }));
    root.append(cursor);
    update = () => {
      cursor.setAttribute("transform", `translate(${x(state.frame)} 0)`);
      cursor.setAttribute("data-frame", state.frame);
      readings.forEach((reading) => reading(state.frame));
    };
    update();
    const pick = (event) => {
      const bounds = root.getBoundingClientRect();
      const at = from + ((event.clientX - bounds.left) * width / bounds.width - left) / (right - left) * (to - from);
      let best = 0;
      for (let k = 1; k < COUNT; k += 1) if (Math.abs(clock[k] - at) < Math.abs(clock[best] - at)) best = k;
      pause();
      seek(best);
    };
    root.addEventListener("pointerdown", (event) => { pick(event); root.setPointerCapture(event.pointerId); });
    root.addEventListener("pointermove", (event) => { if (event.buttons & 1) pick(event); });
    stage.replaceChildren(root);
  }

  let seen = 0;
  new ResizeObserver(() => {
    if (Math.abs(stage.clientWidth - seen) < 2) return;
    seen = stage.clientWidth;
    draw();
  }).observe(stage);
  on("frame", () => update());
  on("edits", draw);
  seen = stage.clientWidth;
  draw();
}

function drawPanel(root, panel, x, left, right, y, height, narrow) {
  const all = panel.series.flatMap((s) => s.values.filter((v) => v !== null));
  let [low, high] = [Math.min(0, ...all), Math.max(...all)];
  if (high - low < 1e-6) high = low + 1;
  const step = niceStep(high - low, 2.5);
  [low, high] = [Math.floor(low / step) * step, Math.ceil(high / step) * step];
  const at = (value) => y + height - (value - low) / (high - low) * height;
  for (let tick = low; tick <= high + step / 2; tick += step) {
    root.append(svg("line", { x1: left, x2: right, y1: at(tick), y2: at(tick), class: Math.abs(tick) < step / 1e3 ? "zero" : "grid" }));
    root.append(svg("text", { x: left - 5, y: at(tick) + 3.5, class: "tick", "text-anchor": "end" },
      fixed(Math.abs(tick) < step / 1e3 ? 0 : tick, step < 1 ? 1 : 0)));
  }
  const title = svg("text", { x: left, y: y - (narrow ? 22 : 8), class: "panel-title" }, panel.title);
  title.append(svg("tspan", { class: "unit" }, ` ${unitText(panel.unit)}`));
  const values = svg("text", { x: narrow ? left : right, y: y - 8, class: "reading", "text-anchor": narrow ? "start" : "end" });
  root.append(title, values);
  const dots = [];
  for (const series of panel.series) {
    let d = "";
    let open = false;
    series.values.forEach((value, frame) => {
      if (value === null) { open = false; return; }
      d += `${open ? "L" : "M"}${x(frame).toFixed(1)} ${at(value).toFixed(1)}`;
      open = true;
    });
    root.append(svg("path", { d, class: "curve", stroke: series.color }));
    const dot = svg("circle", { r: 3.4, fill: series.color, class: "dot" });
    root.append(dot);
    dots.push(dot);
  }
  return (frame) => {
    values.replaceChildren();
    panel.series.forEach((series, k) => {
      const value = series.values[frame];
      dots[k].setAttribute("visibility", value === null ? "hidden" : "visible");
      if (value !== null) {
        dots[k].setAttribute("cx", x(frame));
        dots[k].setAttribute("cy", at(value));
      }
      values.append(svg("tspan", { fill: series.color }, `${k ? "   " : ""}${series.name} ${numberText(value, panel.unit)}`.trimEnd()));
    });
  };
}

function drawTimeAxis(root, x, left, right, y) {
  root.append(svg("line", { x1: left, x2: right, y1: y, y2: y, class: "zero" }));
  const span = TIMES ? TIMES[COUNT - 1] - TIMES[0] : COUNT;
  const step = niceStep(span || 1, (right - left) / 90);
  let last = -Infinity;
  for (let frame = 0; frame < COUNT; frame += 1) {
    const value = TIMES ? TIMES[frame] : frame + 1;
    const tick = Math.round(value / step) * step;
    const before = frame ? (TIMES ? TIMES[frame - 1] : frame) : -Infinity;
    if (!(value >= tick && before < tick) || x(frame) - last < 40) continue;
    last = x(frame);
    root.append(svg("text", { x: last, y: y + 14, class: "tick", "text-anchor": "middle" }, fixed(tick, step < 1 ? 1 : 0)));
  }
  root.append(svg("text", { x: right, y: y + 14, class: "tick", "text-anchor": "end" }, TIMES ? "s" : "frame"));
}

function eventMarks(x) {
  const marks = [];
  MEASURES.swallows.forEach((swallow, k) => {
    for (const [event, found] of Object.entries(swallow.events)) {
      const frame = eventFrame(k, event);
      if (frame === null) continue;
      marks.push({ event, frame, x: x(frame), title: sentence(found.definition), corrected: isCorrected(k, event) });
    }
  });
  return marks.sort((a, b) => a.x - b.x);
}

// Labels side by side in as few rows as they need; returns the number of rows.
function placeMarks(marks, left, right) {
  const ends = [];
  for (const mark of marks) {
    mark.size = code(mark.event).length * 6.4 + 9;
    mark.labelX = clamp(mark.x, left + mark.size / 2, right - mark.size / 2);
    let row = ends.findIndex((end) => mark.labelX - mark.size / 2 > end + 3);
    if (row < 0) row = ends.length;
    ends[row] = mark.labelX + mark.size / 2;
    mark.row = row;
  }
  for (const mark of marks) mark.y = 12 + mark.row * 17;
  return Math.max(1, ends.length);
}
