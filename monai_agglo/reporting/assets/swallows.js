// One sheet per swallow: what was swallowed, key frames, events with their correction, measures, what was not measured.

const IDDSI = ["0 thin", "1 slightly thick", "2 mildly thick", "3 moderately thick / liquidised", "4 extremely thick / pureed",
  "5 minced and moist", "6 soft and bite-sized", "7 regular"];
const GROUPS = [
  ["Timing", (m) => m.unit === "s"],
  ["Upper oesophageal sphincter", (m) => m.name.startsWith("ues_")],
  ["Hyoid and epiglottis", (m) => /^(hyoid|epiglott)/.test(m.name)],
  ["Pharynx", (m) => /^(pharyn|pcr|bolus)/.test(m.name)],
  ["Residue at swallow rest", (m) => /^(residue|nrrs)|_full$/.test(m.name)],
  ["Other", () => true],
];
const KEY_STRUCTURES = ["bolus", "trachea", "c2", "c4", "hyoid", "epiglottis"];

function makeSwallows() {
  const box = byId("swallows");
  if (!LATERAL) return;
  if (!MEASURES.swallows.length) {
    box.append(el("section", { class: "sheet" }, el("h2", {}, "No swallow found"),
      el("p", {}, `${sentence(MEASURES.reason || "no bolus passes the upper oesophageal sphincter")}.`)));
    return;
  }
  MEASURES.swallows.forEach((swallow, k) => box.append(swallowSheet(swallow, k)));
}

function swallowSheet(swallow, k) {
  const span = `frames ${swallow.first_frame + 1} to ${swallow.last_frame + 1}`
    + (TIMES ? ` · ${fixed(TIMES[swallow.first_frame], 2)} to ${fixed(TIMES[swallow.last_frame], 2)} s` : "");
  const stale = el("p", { class: "stale", hidden: true }, "The events or the consistency were changed: the numbers below are those from before.");
  const measures = el("div", { class: "measures" }, measureTable(swallow));
  const missing = notMeasured(swallow);
  const sheet = el("section", { class: "sheet swallow", "data-swallow": swallow.number },
    el("div", { class: "sheet-head" }, el("div", {}, el("h2", {}, `Swallow ${swallow.number}`), el("p", { class: "muted" }, span)), facts(k)),
    keyFrames(swallow, k), eventTable(swallow, k), stale, el("h3", {}, "Measures"),
    el("p", { class: "hint muted" }, "± frame: what one frame more or less does. ± masks: what masks drawn a pixel differently do. "
      + "A click on a name shows its definition."), measures, missing);
  const look = () => {
    stale.hidden = !swallowChanged(k);
    measures.classList.toggle("old", swallowChanged(k));
  };
  on("edits", look);
  look();
  return sheet;
}

function facts(k) {
  const level = el("select", { "aria-label": `IDDSI level of swallow ${k + 1}`, "data-fact": "iddsi",
    onchange: () => setFact(k, "iddsi", level.value === "" ? null : Number(level.value)) },
  el("option", { value: "" }, "not given"), IDDSI.map((text, value) => el("option", { value }, text)));
  const volume = el("input", { type: "number", min: "0.1", max: "1000", step: "any", placeholder: "ml", "data-fact": "volume_ml",
    "aria-label": `Volume of swallow ${k + 1} in millilitres`,
    onchange: () => {
      const value = Number(volume.value);
      setFact(k, "volume_ml", volume.value !== "" && value > 0 && value <= 1000 ? value : null);
    } });
  const show = () => {
    level.value = EDITS[k].iddsi === null ? "" : String(EDITS[k].iddsi);
    volume.value = EDITS[k].volume_ml === null ? "" : String(EDITS[k].volume_ml);
  };
  on("edits", show);
  show();
  return el("div", { class: "facts" }, el("label", {}, "IDDSI", level), el("label", {}, "Volume (ml)", volume));
}

function keyFrames(swallow, k) {
  const box = el("div", { class: "strip-of-frames", "aria-label": "Key frames" });
  const show = () => {
    const marks = Object.keys(swallow.events).map((event) => [event, eventFrame(k, event)]).filter(([, frame]) => frame !== null);
    marks.sort((a, b) => a[1] - b[1]);
    const byFrame = new Map();
    for (const [event, frame] of marks) byFrame.set(frame, [...(byFrame.get(frame) || []), code(event)]);
    box.replaceChildren(...[...byFrame].map(([frame, codes]) => thumbnail(frame, KEY_STRUCTURES,
      [codes.join(", "), TIMES ? secondsText(frame) : `frame ${frame + 1}`])));
  };
  on("edits", show);
  show();
  return box;
}

function eventTable(swallow, k) {
  const body = el("tbody");
  const show = () => body.replaceChildren(...Object.entries(swallow.events).map(([event, found]) => eventRow(swallow, k, event, found)));
  on("edits", show);
  show();
  const table = el("table", { class: "events" }, el("thead", {}, el("tr", {}, el("th", {}, "Event"), el("th", {}, "What it is"),
    el("th", { class: "number" }, "Frame"), el("th", { class: "number" }, "Time"), el("th", { class: "no-print" }, "Correct"))), body);
  return el("details", { class: "fold", open: true }, el("summary", {}, "Events"), table);
}

function eventRow(swallow, k, event, found) {
  const frame = eventFrame(k, event);
  const corrected = isCorrected(k, event);
  const button = (text, title, action) => el("button", { type: "button", class: "small", title, "data-action": text, onclick: action }, text);
  const place = frame === null
    ? el("span", { class: "muted" }, "not found")
    : el("button", { type: "button", class: "link", "data-goto": frame, onclick: () => { pause(); seek(frame); } }, String(frame + 1));
  const half = found.plus_minus_s === null ? "" : ` ± ${fixed(found.plus_minus_s, 3)}`;
  const why = frame === null ? (corrected ? "removed by the reader" : found.reason) : "";
  return el("tr", { "data-event": event, class: corrected ? "corrected" : "" },
    el("td", {}, el("b", {}, code(event))),
    el("td", {}, sentence(found.definition), why ? el("span", { class: "why" }, sentence(why)) : null,
      corrected ? el("span", { class: "badge corrected" }, isPending(k, event) ? "corrected, not yet computed" : "corrected") : null),
    el("td", { class: "number" }, place),
    el("td", { class: "number" }, frame === null || !TIMES ? "" : `${fixed(TIMES[frame], 3)}${half} s`),
    el("td", { class: "no-print actions" }, button("Set here", `Set ${code(event)} to the frame shown`, () => setEvent(k, event, state.frame)),
      frame === null ? null : button("Remove", `There is no ${code(event)}`, () => setEvent(k, event, null)),
      corrected ? button("Undo", "Back to what was found automatically",
        () => setEvent(k, event, swallow.automatic_events_frame_index[event])) : null));
}

function measureTable(swallow) {
  const left = swallow.measures.filter((m) => m.value !== null);
  const tables = [];
  for (const [title, belongs] of GROUPS) {
    const rows = left.filter(belongs);
    rows.forEach((m) => left.splice(left.indexOf(m), 1));
    if (rows.length) tables.push(el("table", { class: "values" }, el("caption", {}, title), el("tbody", {}, rows.map(measureRow))));
  }
  if (!tables.length) return el("p", { class: "muted" }, "Nothing could be measured; the reasons are below.");
  return el("div", { class: "groups" }, tables);
}

function measureRow(m) {
  const value = el("span", { class: "value" }, numberText(m.value, m.unit), el("span", { class: "unit" }, ` ${unitText(m.unit)}`));
  const doubt = [];
  if (m.plus_minus !== null) doubt.push(`± ${fixed(m.plus_minus, 3)} frame`);
  if (m.uncertainty !== null) doubt.push(`± ${numberText(m.uncertainty, m.unit)} masks`);
  const verdict = m.outside === null ? null : el("span", { class: m.outside ? "badge outside" : "badge within" }, m.outside ? "outside" : "within");
  const reference = m.reference === "no range" ? el("span", { class: "muted" }, "no range") : el("span", {}, m.reference);
  const definition = el("details", { class: "definition" }, el("summary", { title: "How it is defined" }, m.title),
    el("p", {}, `Definition: ${m.definition}`),
    m.frames.length && m.frames.length < 9 ? el("p", {}, "Frames: ", m.frames.map((frame) => el("button", { type: "button", class: "link",
      onclick: () => { pause(); seek(frame); } }, `${frame + 1} `))) : null,
    m.source ? el("p", {}, `Range: ${m.source}`) : null);
  return el("tr", { "data-measure": m.name, class: m.outside ? "is-outside" : "" },
    el("td", {}, definition, m.note ? el("span", { class: "why" }, sentence(m.note)) : null),
    el("td", { class: "number" }, value, doubt.length ? el("span", { class: "doubt" }, doubt.join(" · ")) : null),
    el("td", {}, reference, verdict));
}

function notMeasured(swallow) {
  const groups = new Map();
  for (const m of swallow.measures) if (m.value === null) groups.set(m.reason, [...(groups.get(m.reason) || []), m.title]);
  if (!groups.size) return null;
  const count = swallow.measures.filter((m) => m.value === null).length;
  return el("details", { class: "fold missing", open: true }, el("summary", {}, `Not measured, and why (${count})`),
    el("dl", {}, [...groups].map(([reason, titles]) => [el("dt", {}, sentence(reason)), el("dd", {}, titles.join(", "))])));
}
