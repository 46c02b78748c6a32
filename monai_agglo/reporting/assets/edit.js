// What a reader corrects: event frames, consistency and volume. It is exported as a file; the numbers are computed anew
// by "report --events", never here.

const ORDER = [["oral", "bpm", 0], ["ueso", "uesc", 1], ["ueso", "ues_max", 0], ["ues_max", "uesc", 0], ["lvc", "lvco", 1],
  ["bpm", "uesc", 0], ["uesc", "rest", 0]];
const FORMER = MEASURES.swallows.map((_, k) => DATA.corrections[k] || { iddsi: null, volume_ml: null, events_frame_index: {} });
const EDITS = FORMER.map((former) => ({ ...former, events_frame_index: { ...former.events_frame_index } }));

// The frame of an event as it stands: corrected by the reader, else as the numbers on the page have it.
function eventFrame(k, event) {
  const edits = EDITS[k].events_frame_index;
  return event in edits ? edits[event] : MEASURES.swallows[k].automatic_events_frame_index[event];
}

function isCorrected(k, event) {
  return event in EDITS[k].events_frame_index;
}

function isPending(k, event) {
  return eventFrame(k, event) !== MEASURES.swallows[k].events[event].frame_index;
}

function setEvent(k, event, frame) {
  if (frame === MEASURES.swallows[k].automatic_events_frame_index[event]) delete EDITS[k].events_frame_index[event];
  else EDITS[k].events_frame_index[event] = frame;
  tell("edits");
}

function setFact(k, key, value) {
  EDITS[k][key] = value;
  tell("edits");
}

function changes() {
  let count = 0;
  EDITS.forEach((edit, k) => {
    for (const event of Object.keys(MEASURES.swallows[k].events)) count += isPending(k, event);
    for (const key of ["iddsi", "volume_ml"]) count += edit[key] !== FORMER[k][key];
  });
  return count;
}

function swallowChanged(k) {
  return EDITS[k].iddsi !== FORMER[k].iddsi || Object.keys(MEASURES.swallows[k].events).some((event) => isPending(k, event));
}

// Events in the wrong order, in words; the command refuses them.
function contradictions(k) {
  const found = [];
  for (const [first, second, strict] of ORDER) {
    if (!isCorrected(k, first) && !isCorrected(k, second)) continue;
    const [a, b] = [eventFrame(k, first), eventFrame(k, second)];
    if (a !== null && b !== null && (strict ? a >= b : a > b)) found.push(`${code(first)} must come before ${code(second)}`);
  }
  return found;
}

function exported() {
  return { kind: "monai_agglo.corrections", format_version: 1, pseudonym: DATA.pseudonym, frames: COUNT,
    swallows: EDITS.map((edit) => ({ iddsi: edit.iddsi, volume_ml: edit.volume_ml, events_frame_index: edit.events_frame_index })) };
}

function download() {
  const blob = new Blob([`${JSON.stringify(exported(), null, 1)}\n`], { type: "application/json" });
  const link = el("a", { href: URL.createObjectURL(blob), download: `corrections_${DATA.pseudonym}.json` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function makePending() {
  const box = byId("pending");
  const text = el("p", {});
  const wrong = el("p", { class: "bad" });
  box.append(el("div", {}, text, wrong, el("code", {}, "python -m monai_agglo report CINE --output DIR --events FILE")),
    el("button", { type: "button", id: "export", class: "main", onclick: download }, "Export corrections"),
    el("button", { type: "button", id: "discard", onclick: () => {
      EDITS.forEach((edit, k) => Object.assign(edit, FORMER[k], { events_frame_index: { ...FORMER[k].events_frame_index } }));
      tell("edits");
    } }, "Discard"));
  const show = () => {
    const count = changes();
    box.hidden = count === 0;
    document.body.classList.toggle("has-pending", count > 0);
    text.textContent = `${plural(count, "change")} not yet in the numbers. Export, then compute them anew with:`;
    const bad = EDITS.flatMap((_, k) => contradictions(k).map((words) => `Swallow ${k + 1}: ${words}.`));
    wrong.textContent = bad.join(" ");
    byId("export").disabled = bad.length > 0;
  };
  on("edits", show);
  show();
}
