"""The look of a report: one style sheet and the few lines of script that sort its table and
enlarge its pictures.

Both are part of the page itself. Colours follow the reader's light or dark setting; on paper the page is light.
"""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6570; --paper: #fff; --card: #f4f6f8; --line: #d9dee3;
  --accent: #0072b2; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b1; --paper: #14171a;
  --card: #1d2226; --line: #343b42; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 3rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .7rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .5rem; }
p { margin: .4rem 0; max-width: 60rem; } .soft { color: var(--soft); }
nav { margin: .6rem 0 0; display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .9rem; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .7rem; margin: 1.2rem 0 0; }
.card { background: var(--card); border-radius: 8px; padding: .7rem .9rem; }
.card b { display: block; font-size: 1.55rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .85rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1rem 1.5rem;
  align-items: start; }
.plots svg { width: 100%; height: auto; display: block; }
.scroll { overflow: auto; max-height: 38rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .32rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } thead th { position: sticky; top: 0; background: var(--paper); }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
.facts td:first-child { color: var(--soft); width: 42%; }
.numbers th, .numbers td, .numbers th:first-child, .numbers td:first-child { text-align: center;
  white-space: nowrap; }
.sortable td:first-child { min-width: 7rem; } .sortable th { white-space: normal; vertical-align: bottom; }
.sortable thead th { cursor: pointer; } .sortable th[aria-sort]::after { content: " \\25B2"; font-size: .7em; }
.sortable th[aria-sort=descending]::after { content: " \\25BC"; }
.columns { columns: 27rem 2; column-gap: 2.5rem; } .columns section { break-inside: avoid; }
.columns h2 { margin-top: 0; padding-top: 2.2rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 33rem), 1fr)); gap: 1rem; }
figure { margin: 0; } figure img { max-width: 100%; max-height: 18rem; display: block; border-radius: 4px; }
figure img { cursor: zoom-in; } figure.large { grid-column: 1 / -1; } figure.large img { width: 100%;
  max-height: none; cursor: zoom-out; }
figcaption { color: var(--soft); font-size: .85rem; margin-top: .25rem; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; }
  figure, .card, .plots svg, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } thead th { position: static; }
  .scroll { overflow: visible; max-height: none; } }
"""

SCRIPT = """
for (const image of document.querySelectorAll("figure img"))
  image.addEventListener("click", () => image.parentElement.classList.toggle("large"));
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  heads.forEach((head, column) => {
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending" || (column > 0 && !head.hasAttribute("aria-sort"));
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        if (x === "" || y === "") return (x === "") - (y === "");
        return (column > 0 ? x - y : x.localeCompare(y)) * (down ? -1 : 1);
      });
      body.append(...rows);
    };
    head.tabIndex = 0;
    head.addEventListener("click", sort);
    head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
  });
}
"""
