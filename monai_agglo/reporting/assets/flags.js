// What needs a look: bolus over the airway, frames that are not lateral, warnings, provenance, and the line at the top.

function makeVerdict() {
  const verdict = MEASURES.verdict;
  const parts = [DATA.pseudonym, `${DATA.size.columns} x ${DATA.size.rows} pixels`, plural(COUNT, "frame")];
  if (TIMES && COUNT > 1) parts.push(`${fixed(TIMES[COUNT - 1] - TIMES[0], 2)} s`);
  const rate = MEASURES.frames.effective_fps;
  if (rate) parts.push(`${fixed(rate, rate < 10 ? 1 : 0)} per second`);
  if (LATERAL && MEASURES.facing) parts.push(`facing ${MEASURES.facing}`);
  byId("subtitle").textContent = parts.join(" · ");
  if (LATERAL) return;
  byId("verdict").hidden = false;
  byId("verdict").classList.add("grave");
  byId("verdict").append(el("h2", {}, verdict.headline), el("p", {}, verdict.text));
}

function tile(label, value, kind, text) {
  return el("div", { class: `tile ${kind || ""}` }, el("span", { class: "label" }, label), el("b", {}, value), text ? el("span", { class: "muted" }, text) : null);
}

function makeSummary() {
  const box = byId("summary");
  if (!LATERAL) { box.remove(); return; }
  const count = MEASURES.swallows.length;
  box.append(tile("Swallows", String(count), "", count ? "" : sentence(MEASURES.reason)));
  const airway = MEASURES.airway;
  if (!airway) box.append(tile("Bolus over the airway", "not examined", "warn"));
  else {
    const flagged = airway.flagged_frames.length;
    box.append(tile("Bolus over the airway", flagged ? plural(flagged, "frame") : "no frame flagged", flagged ? "warn" : "good",
      flagged ? `deepest: ${airway.deepest}` : "does not exclude aspiration"));
  }
  const rows = MEASURES.swallows.flatMap((s) => s.measures);
  const outside = rows.filter((m) => m.outside).length;
  const ranged = rows.filter((m) => m.outside !== null).length;
  if (rows.length) box.append(tile("Outside the reference range", `${outside} of ${ranged}`, outside ? "warn" : "good", "measures that have one"));
  const measured = rows.filter((m) => m.value !== null).length;
  if (rows.length) box.append(tile("Measured", `${measured} of ${rows.length}`, "", "the rest says why not"));
  const scale = MEASURES.scale.c2c4;
  if (scale && scale.value !== null) {
    const mm = MEASURES.scale.c2c4_mm;
    box.append(tile("C2–C4 scale", `${fixed(scale.value, 1)} px`, "", mm && mm.value !== null ? `${fixed(mm.value, 1)} mm` : "not calibrated"));
  }
}

function makeFlags() {
  const box = byId("flags");
  if (!LATERAL) { box.remove(); return; }
  box.append(el("h2", {}, "For review"));
  const airway = MEASURES.airway;
  if (!airway) box.append(el("p", {}, "Bolus over the airway was not examined: bolus or trachea are not labelled."));
  else {
    const level = new Map(airway.flagged_frames.map((frame, k) => [frame, airway.levels[k]]));
    const runs = runsOf(airway.flagged_frames);
    if (!runs.length) box.append(el("p", {}, "No frame shows bolus over the airway. This does not exclude penetration or aspiration."));
    for (const [first, last] of runs.slice(0, 8)) box.append(airwayRun(first, last, level));
    if (runs.length > 8) box.append(el("p", {}, `And ${plural(runs.length - 8, "more run")} of frames; see frames.csv.`));
    box.append(el("p", { class: "muted" }, airway.note));
  }
  if (DATA.not_lateral.length) {
    box.append(el("p", {}, el("b", {}, `${plural(DATA.not_lateral.length, "frame")} may not be a lateral view: `),
      runsOf(DATA.not_lateral).slice(0, 20).map(([first, last]) => el("button", { type: "button", class: "link",
        onclick: () => { pause(); seek(first); } }, first === last ? `${first + 1} ` : `${first + 1}–${last + 1} `)),
      " Their masks are not to be used."));
  }
}

function airwayRun(first, last, level) {
  const depths = [];
  for (let frame = first; frame <= last; frame += 1) if (!depths.includes(level.get(frame))) depths.push(level.get(frame));
  const text = first === last ? `Frame ${first + 1}` : `Frames ${first + 1} to ${last + 1}`;
  const when = TIMES ? ` (${fixed(TIMES[first], 2)}${first === last ? "" : ` to ${fixed(TIMES[last], 2)}`} s)` : "";
  const frames = [];
  const step = Math.max(1, Math.ceil((last - first + 1) / 8));
  for (let frame = Math.max(0, first - 2); frame <= Math.min(COUNT - 1, last + 2); frame += frame >= first && frame + step <= last ? step : 1) frames.push(frame);
  return el("div", { class: "run" }, el("p", {}, el("b", {}, text + when), `: bolus over the airway, ${depths.join("; ")}.`),
    el("div", { class: "strip-of-frames" }, frames.map((frame) => thumbnail(frame, ["bolus", "trachea", "vocal_folds", "laryngeal_vestibule"],
      [`frame ${frame + 1}`], level.has(frame) ? "flagged" : ""))));
}

function makeNotes() {
  const box = byId("notes");
  const warnings = MEASURES.warnings;
  if (!warnings.length) { box.remove(); return; }
  box.append(el("h2", {}, "What to know about these results"), el("ul", {}, warnings.map((text) => el("li", {}, text))));
}

function makeProvenance() {
  byId("provenance").append(el("h2", {}, "Where this comes from"),
    el("dl", { class: "pairs" }, DATA.provenance.map(([label, text]) => [el("dt", {}, label), el("dd", {}, text)])));
}
