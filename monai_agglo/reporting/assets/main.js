// Start: build everything, then open on a frame worth seeing.

makeVerdict();
makeSummary();
makeViewer();
makeCurves();
makeFlags();
makeSwallows();
makeNotes();
makeProvenance();
makePending();
if (!LATERAL) byId("curves").replaceWith(el("div", { class: "aside" }, byId("notes"), byId("provenance")));

if (LATERAL && MEASURES.swallows.length) {
  const first = eventFrame(0, "ueso");
  if (first !== null) seek(first);
}

// On paper everything is open.
let folded = [];
window.addEventListener("beforeprint", () => {
  pause();
  folded = [...document.querySelectorAll("details.fold:not([open])")];
  folded.forEach((node) => { node.open = true; });
});
window.addEventListener("afterprint", () => folded.forEach((node) => { node.open = false; }));
document.body.dataset.ready = "yes";
