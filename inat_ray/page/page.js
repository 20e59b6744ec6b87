"use strict";

// Plots, in the colors of the page.

const drawings = [...document.querySelectorAll("figure.plotly")].map((figure) => ({
  place: figure.querySelector(".drawing"),
  content: JSON.parse(figure.querySelector("script").textContent),
}));

function theme() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: color("--line"), zerolinecolor: color("--line"), linecolor: color("--line"),
    automargin: true, title: { standoff: 8 } };
  return {
    layout: {
      paper_bgcolor: color("--paper"),
      plot_bgcolor: color("--paper"),
      font: { color: color("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
      margin: { l: 50, r: 20, t: 20, b: 50 },
      hoverlabel: { bgcolor: color("--panel"), bordercolor: color("--line"), font: { color: color("--ink") } },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      hovermode: "closest",
    },
    axis,
    ink: color("--ink"),
    accent: color("--accent"),
  };
}

// What the figure says stands above what the page says.
function merged(below, above) {
  const result = { ...below };
  for (const [key, value] of Object.entries(above ?? {})) {
    const nested = value && typeof value === "object" && !Array.isArray(value);
    result[key] = nested ? merged(below?.[key] ?? {}, value) : value;
  }
  return result;
}

// Between the margins of A4, in CSS pixels: the layout of a page on paper is not known while it is drawn.
const PAPER = { alone: 670, beside: 325, font: 8 };

function draw({ place, content }) {
  const colors = theme();
  const printing = document.documentElement.hasAttribute("data-printing");
  const layout = merged(colors.layout, content.layout);
  const axes = Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
  for (const key of new Set([...axes, "xaxis", "yaxis"])) {
    layout[key] = merged(colors.axis, layout[key]);
  }
  if (printing) layout.width = place.closest(".plots") ? PAPER.beside : PAPER.alone;
  const font = { color: colors.ink, shadow: "none", ...(printing && { size: PAPER.font }) };
  const data = content.data.map((trace) => {
    if (trace.type !== "parcoords") return trace;
    return { ...trace, labelfont: font, tickfont: font, rangefont: font };
  });
  return Plotly.react(place, data, layout, { responsive: true, displaylogo: false, displayModeBar: "hover",
    modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] });
}

function drawAll() {
  drawings.forEach(draw);
  document.documentElement.dataset.drawn = drawings.length;
}

if (drawings.length) {
  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
}

// On paper: light, with all that is folded away.

const folded = document.querySelectorAll("details:not([open])");

function dress(forPaper) {
  document.documentElement.toggleAttribute("data-printing", forPaper);
  for (const details of folded) details.open = forPaper || details.dataset.opened === "yes";
  drawAll();
}

addEventListener("beforeprint", () => {
  for (const details of folded) details.dataset.opened = details.open ? "yes" : "no";
  dress(true);
});
addEventListener("afterprint", () => dress(false));

// Tables that sort by the column whose head is pressed.

function valueOf(row, column) {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
}

function compare(a, b) {
  if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
  return typeof a === "number" ? -1 : 1;
}

function sortBy(head) {
  const table = head.closest("table");
  const column = head.cellIndex;
  const ascending = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => (ascending ? 1 : -1) * compare(valueOf(a, column), valueOf(b, column)));
  table.tBodies[0].append(...rows);
}

for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}
