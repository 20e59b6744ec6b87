"use strict";

// The contents mark the section that is read, and fold where there is no room beside it.

const contents = document.querySelector("nav details");
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const narrow = matchMedia("(max-width: 64rem)");

function fold() { contents.open = !narrow.matches; }

function markPlace() {
  const heads = [...document.querySelectorAll("h2[id]")];
  const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
  const above = atEnd ? heads : heads.filter((head) => head.getBoundingClientRect().top < innerHeight / 3);
  const here = (above.at(-1) ?? heads[0])?.id;
  for (const [id, link] of links) link.toggleAttribute("aria-current", id === here);
  document.querySelector("nav .here").textContent = links.get(here)?.textContent ?? "";
}

let waiting = false;
addEventListener("scroll", () => {
  if (!waiting) requestAnimationFrame(() => { waiting = false; markPlace(); });
  waiting = true;
}, { passive: true });
narrow.addEventListener("change", fold);
contents.addEventListener("click", (event) => {
  if (narrow.matches && event.target.closest("a")) contents.open = false;
});
fold();
markPlace();

// Text that is copied: where the clipboard is closed to the page, it is selected instead.

for (const button of document.querySelectorAll("button[data-copies]")) {
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      source.hidden = false;
      getSelection().selectAllChildren(source);
      button.textContent = "Selected";
    }
  });
}

// The selection of trials is one over the page: whoever changes it tells all by `select-trials`. A row
// that is pressed selects its trial; a selection made elsewhere leaves its rows alone in the table.

for (const board of document.querySelectorAll("table.board")) {
  const tell = (trials) =>
    document.dispatchEvent(new CustomEvent("select-trials", { detail: { trials, from: "leaderboard" } }));
  const rows = [...board.querySelectorAll("tr[data-trial]")];
  const turn = (row, more) => {
    const others = rows.filter((each) => more && each !== row && each.ariaSelected === "true");
    tell([...others, ...(row.ariaSelected === "true" ? [] : [row])].map((each) => each.dataset.trial));
  };
  for (const row of rows) {
    row.addEventListener("click", (event) => {
      if (!event.target.closest("a") && !getSelection().toString()) turn(row, event.shiftKey || event.ctrlKey || event.metaKey);
    });
    const name = row.querySelector("a");
    name.addEventListener("click", () => tell([row.dataset.trial]));
    name.addEventListener("keydown", (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      turn(row, true);
    });
  }
  document.addEventListener("select-trials", ({ detail: { trials, from } }) => {
    const chosen = new Set(trials);
    for (const row of rows) {
      row.ariaSelected = String(chosen.has(row.dataset.trial));
      row.hidden = chosen.size > 0 && from !== "leaderboard" && !chosen.has(row.dataset.trial);
    }
  });
}

// A table that is wider than its place fades at the edge behind which it goes on.

for (const place of document.querySelectorAll(".scroll")) {
  const mark = () => {
    const rest = place.scrollWidth - place.clientWidth - place.scrollLeft;
    place.parentElement.toggleAttribute("data-more", rest > 2);
  };
  place.addEventListener("scroll", mark, { passive: true });
  new ResizeObserver(mark).observe(place);
}

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

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}

// On paper all that is folded away is open.

const folded = document.querySelectorAll("main details:not([open])");
addEventListener("beforeprint", () => {
  for (const details of folded) {
    details.dataset.opened = details.open;
    details.open = true;
  }
});
addEventListener("afterprint", () => {
  for (const details of folded) details.open = details.dataset.opened === "true";
});
