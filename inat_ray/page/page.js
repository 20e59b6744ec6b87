// On paper: light, with all that is folded away.

const folded = document.querySelectorAll("details:not([open])");

function dress(forPaper) {
  document.documentElement.toggleAttribute("data-printing", forPaper);
  for (const details of folded) details.open = forPaper || details.dataset.opened === "yes";
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
