// Plots: what is drawn is in the page already. Here is what a reader does with it.
// A selection of trials holds for the whole page: whoever makes one dispatches `select-trials` on the
// document, with the trials' ids and its own name; whoever shows trials listens. An empty one clears.

const texts = JSON.parse(document.getElementById("trial-texts")?.textContent ?? "{}");
const figures = [...document.querySelectorAll("figure.plot")];
const onPhone = matchMedia("screen and (max-width: 49rem)");

function select(trials, from) {
  document.dispatchEvent(new CustomEvent("select-trials", { detail: { trials: [...trials], from } }));
}

const NOBODY = "nobody"; // is selected where a range has no trial in it
let selected = new Set();
const counter = document.createElement("p");
counter.className = "selection";
counter.setAttribute("role", "status");
counter.hidden = true;
document.body.append(counter);

document.addEventListener("select-trials", ({ detail }) => {
  selected = new Set(detail.trials);
  for (const mark of document.querySelectorAll("svg [data-trial]")) {
    mark.classList.toggle("dim", selected.size > 0 && !selected.has(mark.dataset.trial));
  }
  if (detail.from !== "parallel") {
    ranges.clear();
    for (const brush of document.querySelectorAll("rect.brush")) brush.remove();
    for (const end of document.querySelectorAll("input[data-range]")) end.value = "";
  }
  document.documentElement.toggleAttribute("data-selecting", selected.size > 0);
  counter.hidden = !selected.size;
  const size = selected.has(NOBODY) ? "no" : selected.size;
  counter.innerHTML = `${size} trial${size === 1 ? "" : "s"} selected <button type="button">Clear</button> (Escape)`;
});
counter.addEventListener("click", (event) => event.target.closest("button") && select([], "counter"));
addEventListener("keydown", (event) => event.key === "Escape" && selected.size && select([], "keyboard"));

// Views, and axes of the parallel coordinates.

for (const input of document.querySelectorAll(".views input[type=radio]")) {
  input.addEventListener("change", () => {
    const views = input.closest("figure").querySelectorAll(".view");
    views.forEach((view, place) => { view.hidden = place !== Number(input.value); });
  });
}

function arrange(figure) {
  const wanted = new Set([...figure.querySelectorAll("[data-axis]:checked")].map((box) => box.dataset.axis));
  for (const svg of figure.querySelectorAll("svg")) {
    const all = [...svg.querySelectorAll(".axis")];
    const shown = all.filter((axis, place) => place === 0 || wanted.has(axis.dataset.name));
    const { left, right } = svg.querySelector(".coordinates").dataset;
    const step = Math.max((right - left) / Math.max(1, shown.length - 1), onPhone.matches ? 70 : 84);
    all.forEach((axis) => axis.setAttribute("display", "none"));
    shown.forEach((axis, place) => {
      axis.removeAttribute("display");
      axis.setAttribute("transform", `translate(${Number(left) + place * step} 0)`);
    });
    const width = Number(svg.getAttribute("width"));
    svg.viewBox.baseVal.width = Math.max(width, Number(left) + (shown.length - 1) * step + 44);
    svg.style.setProperty("--of", svg.viewBox.baseVal.width / width); // more axes scroll: letters keep their size
    const places = shown.map((axis) => all.indexOf(axis));
    for (const line of svg.querySelectorAll("[data-heights]")) {
      const heights = line.dataset.heights.split(" ");
      const points = places.map((at, place) => `${Number(left) + place * step} ${heights[at]}`);
      line.setAttribute("d", `M${points.join("L")}`);
    }
  }
}

const MOST_ON_PHONE = 3;
for (const figure of figures.filter((each) => each.querySelector("[data-axis]"))) {
  const boxes = [...figure.querySelectorAll("[data-axis]")];
  const limit = (kept) => {
    const others = boxes.filter((box) => box.checked && box !== kept);
    const most = onPhone.matches ? MOST_ON_PHONE - Boolean(kept?.checked) : boxes.length;
    for (const box of others.slice(most)) box.checked = false;
    arrange(figure);
  };
  for (const box of boxes) box.addEventListener("change", () => limit(box));
  onPhone.addEventListener("change", () => {
    for (const box of boxes) box.checked = box.defaultChecked;
    limit();
  });
  limit();
}

// What is below the pointer: lines are thin, so its neighborhood counts too.

const NEAR = [[0, 0], [3, 0], [-3, 0], [0, 3], [0, -3], [5, 5], [-5, 5], [5, -5], [-5, -5]];

function markAt(event) {
  const marks = NEAR.map(([x, y]) => document.elementFromPoint(event.clientX + x, event.clientY + y)
    ?.closest("svg [data-trial], svg [data-tip]")).filter(Boolean);
  return marks.find((mark) => !mark.classList.contains("dim")) ?? marks[0];
}

function within(svg, event) {
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
}

// The value that a line has at its point nearest to the pointer.
function reading(line, event) {
  const { x, y, share } = line.closest(".panel").dataset;
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(line.getScreenCTM().inverse());
  const points = line.getAttribute("d").slice(1).split("L").map((point) => point.split(" ").map(Number));
  const nearest = points.reduce((a, b) => (Math.abs(b[0] - at.x) < Math.abs(a[0] - at.x) ? b : a));
  const height = valueAt(nearest[1], y);
  return `epoch ${Math.round(valueAt(nearest[0], x))}: ${share ? `${(100 * height).toFixed(1)} %` : height.toFixed(3)}`;
}

// An axis tells its ends, in values and in pixels.

function valueAt(pixel, told) {
  const [low, high, start, end] = told.split(" ").map(Number);
  const place = (pixel - start) / (end - start);
  return told.endsWith("log") ? low * (high / low) ** place : low + place * (high - low);
}

function pixelAt(value, told) {
  const [low, high, start, end] = told.split(" ").map(Number);
  const place = told.endsWith("log") ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  return start + place * (end - start);
}

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

function tell(event) {
  const mark = markAt(event);
  tip.hidden = !mark;
  if (!mark) return;
  const own = mark.dataset.read ? reading(mark, event) : mark.dataset.tip;
  const { trial } = mark.dataset;
  tip.textContent = [trial && `${trial}${own ? `, ${own}` : ""}`, !trial && own, trial && texts[trial]].filter(Boolean).join("\n");
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18}px`;
}

// Selecting: a click takes a trial (with Shift or Ctrl: one more), a drag all points within.

const ranges = new Map();

function brushed(figure) {
  const svg = [...figure.querySelectorAll("svg")].find((each) => each.checkVisibility());
  const lines = [...svg.querySelectorAll("[data-heights]")];
  const fits = (line) => [...ranges].every(([axis, [low, high]]) => {
    const height = Number(line.dataset.heights.split(" ")[axis]);
    return low - 1 <= height && height <= high + 1; // heights are whole pixels
  });
  const found = lines.filter(fits).map((line) => line.dataset.trial);
  select(ranges.size && !found.length ? [NOBODY] : ranges.size ? found : [], "parallel");
}

function dragAlong(axis, svg, figure, from, to) {
  const place = [...svg.querySelectorAll(".axis")].indexOf(axis);
  const [low, high] = [from.y, to.y].sort((a, b) => a - b);
  axis.querySelector(".brush")?.remove();
  ranges.delete(place);
  if (high - low > 3) {
    ranges.set(place, [low, high]);
    const brush = document.createElementNS(svg.namespaceURI, "rect");
    for (const [key, value] of Object.entries({ class: "brush", x: -7, width: 14, y: low, height: high - low })) {
      brush.setAttribute(key, value);
    }
    axis.append(brush);
  }
  brushed(figure);
}

// The same without a drag: a range of an axis, written down. A category has the room around its place.

for (const figure of figures.filter((each) => each.querySelector("[data-range]"))) {
  const [name, ...ends] = figure.querySelectorAll("[data-range]");
  const svg = () => [...figure.querySelectorAll("svg")].find((each) => each.checkVisibility());
  const axis = () => svg().querySelectorAll(".axis")[name.selectedIndex];
  const ticks = () => JSON.parse(axis().dataset.ticks);
  const list = () => figure.querySelector("datalist").replaceChildren(...ticks().map((tick) => new Option(tick)));
  const height = (text, side) => {
    const { told, names } = axis().dataset;
    if (!text) return Number(told.split(" ")[side < 0 ? 2 : 3]);
    const value = names ? ticks().indexOf(text) + side / 2 : parseFloat(text.replaceAll(",", "")) / (text.includes("%") ? 100 : 1);
    return pixelAt(value, told);
  };
  const apply = () => {
    const [from, to] = ends.map((end, place) => ({ y: height(end.value.trim(), place ? 1 : -1) }));
    const isRange = ends.some((end) => end.value) && from.y > to.y;
    dragAlong(axis(), svg(), figure, from, isRange ? to : from);
  };
  name.replaceChildren(...[...svg().querySelectorAll(".axis")].map((each) => new Option(each.dataset.name)));
  name.addEventListener("change", () => { for (const end of ends) end.value = ""; list(); });
  for (const end of ends) end.addEventListener("change", apply);
  list();
}

function dragOver(svg, name, area) {
  const inside = [...svg.querySelectorAll("circle[data-trial], rect[data-trial], path[data-trial][transform]")].filter((mark) => {
    const box = mark.getBoundingClientRect();
    return box.left < area.right && box.right > area.left && box.top < area.bottom && box.bottom > area.top;
  });
  select(new Set(inside.map((mark) => mark.dataset.trial)), name);
}

function clicked(event, name) {
  const trial = markAt(event)?.dataset.trial;
  if (!trial) return selected.size && select([], name);
  const more = event.shiftKey || event.ctrlKey || event.metaKey;
  const chosen = new Set(more ? selected : []);
  if (!chosen.delete(trial)) chosen.add(trial);
  return select(chosen, name);
}

function begin(start, figure) {
  const svg = start.target.closest("svg");
  const axis = start.target.closest(".handle")?.parentElement;
  if (!svg || start.button !== 0 || (start.pointerType === "touch" && !axis)) return;
  const trials = svg.querySelector("[data-trial]");
  const from = within(svg, start);
  const area = document.createElement("div");
  area.className = "area";
  start.preventDefault();
  const box = (event) => {
    const [left, right] = [start.clientX, event.clientX].sort((a, b) => a - b);
    const [top, bottom] = [start.clientY, event.clientY].sort((a, b) => a - b);
    return { left, right, top, bottom };
  };
  const isDrag = (event) => Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) > 5;
  const move = (event) => {
    if (axis) dragAlong(axis, svg, figure, from, within(svg, event));
    else if (trials && !svg.querySelector(".coordinates") && isDrag(event)) {
      const { left, right, top, bottom } = box(event);
      Object.assign(area.style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
      document.body.append(area);
    }
  };
  const end = (event) => {
    removeEventListener("pointermove", move);
    area.remove();
    if (axis) dragAlong(axis, svg, figure, from, within(svg, event));
    else if (isDrag(event) && trials) dragOver(svg, figure.dataset.name, box(event));
    else clicked(event, figure.dataset.name);
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", end, { once: true });
}

for (const figure of figures) {
  figure.addEventListener("pointermove", tell);
  figure.addEventListener("pointerleave", () => { tip.hidden = true; });
  figure.addEventListener("pointerdown", (event) => begin(event, figure));
  figure.addEventListener("click", (event) => {
    if (event.pointerType === "touch" && event.target.closest("svg") && !event.target.closest(".handle")) clicked(event, figure.dataset.name);
  });
}

// Saving what is shown, for white paper.

function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = `${document.title} ${name}`.replace(/\W+/g, "-");
  link.download = link.download.replace(/-(svg|csv)$/, ".$1");
  link.click();
  URL.revokeObjectURL(link.href);
}

for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => {
    const figure = button.closest("figure");
    const view = figure.querySelector(".view:not([hidden])");
    if (button.dataset.save === "csv") {
      save(`${figure.dataset.name}.csv`, "text/csv", view.querySelector("script").textContent);
      return;
    }
    const shown = [...view.querySelectorAll("svg")].find((svg) => svg.checkVisibility());
    const text = new XMLSerializer().serializeToString(shown).replace(/var\(--(\w+)\)/g, (_, ink) => INK[ink]);
    save(`${figure.dataset.name}.svg`, "image/svg+xml", text);
  });
}
