"""The look of a gallery of labelled images, and the script that filters its pictures."""

STYLE = """
body { max-width: 110rem; }
.controls { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; padding: .7rem 0; position: sticky;
  top: 0; background: var(--paper); border-bottom: 1px solid var(--line); z-index: 2; margin-bottom: 1rem; }
.controls select { font: inherit; max-width: 20rem; padding: .15rem .3rem; } .controls label { user-select: none; }
.controls output { color: var(--soft); margin-left: auto; font-variant-numeric: tabular-nums; }
.shown { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); gap: 1.2rem 1rem;
  align-items: start; }
.pic { min-width: 0; } .pic[hidden] { display: none; }
.frame { position: relative; aspect-ratio: var(--aspect); max-height: 26rem; max-width: calc(26rem * var(--aspect));
  cursor: zoom-in; border-radius: 4px; overflow: hidden; background: var(--card); }
.pic .frame img { width: 100%; height: 100%; max-height: none; display: block; border-radius: 0; cursor: inherit; }
.frame svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.pic figcaption { overflow-wrap: anywhere; } figcaption b { color: var(--ink); font-weight: 600; }
.finding { margin: .15rem 0; color: var(--ink); } .finding b { color: #d0021b; } .finding span { color: var(--soft); }
.remark { margin: .15rem 0; font-style: italic; }
@media screen and (prefers-color-scheme: dark) { .finding b { color: #ff6b7a; } }
.pic:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
.pic.large { position: fixed; inset: 0; z-index: 9; background: var(--paper); overflow: auto; padding: 1rem;
  display: flex; flex-direction: column; align-items: center; }
.pic.large .frame { flex: none; width: min(100%, calc(84vh * var(--aspect))); max-width: none; max-height: none;
  cursor: zoom-out; }
.object { color: var(--colour); } .object.faint { opacity: .15; }
.object rect { fill: none; stroke: currentColor; stroke-width: 2px; vector-effect: non-scaling-stroke; }
.object.ignored rect { stroke-dasharray: 5 4; }
.object.flagged rect { stroke: #ff0028; stroke-width: 4px; }
.object path { fill: currentColor; fill-opacity: .42; fill-rule: nonzero; stroke: currentColor; stroke-width: 1px;
  vector-effect: non-scaling-stroke; }
.object line { stroke: currentColor; stroke-width: 2px; vector-effect: non-scaling-stroke; }
.object circle { fill: currentColor; stroke: #000; stroke-width: 1px; vector-effect: non-scaling-stroke; }
.object circle.hidden { fill: #fff; stroke: currentColor; }
.object text { pointer-events: none; fill: #fff; stroke: #000; stroke-width: .22em; stroke-linejoin: round;
  paint-order: stroke; font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-weight: 600; }
.object.flagged text { fill: #ffb3be; }
.without-boxes .boxes, .without-masks .masks, .without-keypoints .keypoints, .without-names .names { display: none; }
@media print { .controls { display: none; } .pic { break-inside: avoid; } }
"""

SCRIPT = """
const pictures = [...document.querySelectorAll(".pic")], filters = [...document.querySelectorAll("[data-filter]")];
const chosen = name => filters.find(filter => filter.dataset.filter === name)?.value ?? "";
const has = (list, word) => word === "" || list.split(" ").includes(word);
const apply = () => {
  const [kind, split, finding] = ["class", "split", "finding"].map(chosen);
  let count = 0;
  for (const picture of pictures) {
    const data = picture.dataset;
    const shown = has(data.classes, kind) && has(data.split, split) && has(data.findings, finding);
    picture.hidden = !shown;
    count += shown;
  }
  for (const object of document.querySelectorAll(".object"))
    object.classList.toggle("faint", kind !== "" && object.dataset.class !== kind);
  document.querySelector("output").textContent = `${count} of ${pictures.length} pictures`;
};
for (const filter of filters) filter.addEventListener("change", apply);
for (const box of document.querySelectorAll("[data-layer]")) {
  const toggle = () => document.body.classList.toggle("without-" + box.dataset.layer, !box.checked);
  box.addEventListener("change", toggle);
  toggle();
}
const enlarge = picture => {
  const large = picture !== null && !picture.classList.contains("large");
  for (const other of pictures) other.classList.toggle("large", large && other === picture);
};
for (const picture of pictures) {
  picture.querySelector(".frame").addEventListener("click", () => enlarge(picture));
  picture.addEventListener("keydown", event => { if (event.key === "Enter") enlarge(picture); });
}
document.addEventListener("keydown", event => { if (event.key === "Escape") enlarge(null); });
apply();
"""
