"use strict";
/* Sortable tables and an interactive scatter plot of the models. No dependencies, no network access. */

const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function element(parent, name, attributes, text) {
  const made = document.createElementNS(parent.namespaceURI === SVG || name === "svg" ? SVG : parent.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
}

function short(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  for (const [unit, suffix] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (size >= unit) return String(Number((value / (suffix === "k" ? 1e3 : unit)).toPrecision(4))) + suffix;
  }
  return String(Number(value.toPrecision(4)));
}

/* ---- tables ---- */

function cellValue(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const text = cell.textContent.replace("−", "-").replace(/,(?=\d{3})/g, "");
  const number = parseFloat(text);
  return Number.isNaN(number) ? text : number;
}

function compare(a, b) {
  const numbers = [a, b].map((value) => typeof value === "number" && !Number.isNaN(value));
  if (numbers[0] && numbers[1]) return a - b;
  if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
  return String(a).localeCompare(String(b));
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("th");
    if (!head) return;
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => sign * compare(cellValue(a, head.cellIndex), cellValue(b, head.cellIndex)));
    table.tBodies[0].append(...rows);
  });
}

/* ---- YAML of a spec, which has only mappings, lists and scalars ---- */

function scalar(value) {
  if (typeof value !== "string") return JSON.stringify(value);
  const plain = /^[A-Za-z_][\w./ -]*$/.test(value) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(value) && !/ $/.test(value);
  return plain ? value : JSON.stringify(value);
}

function yaml(value, indent = "") {
  const lines = [];
  for (const [key, item] of Object.entries(value)) {
    const start = Array.isArray(value) ? indent + "-" : indent + scalar(key) + ":";
    const nested = item !== null && typeof item === "object";
    if (!nested) lines.push(start + " " + scalar(item));
    else if (!Object.keys(item).length) lines.push(start + (Array.isArray(item) ? " []" : " {}"));
    else if (Array.isArray(value)) lines.push(start + " " + yaml(item, indent + "  ").trimStart());
    else lines.push(start, yaml(item, indent + "  "));
  }
  return lines.join("\n");
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch (refused) { // some browsers deny the clipboard to file:// pages
    const area = element(document.body, "textarea");
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/* ---- scatter plot ---- */

const data = JSON.parse(byId("models").textContent);
const BOX = { left: 62, right: 12, top: 10, bottom: 46, width: 640, height: 420 };
const scatter = byId("scatter");
let places = [];
let current = -1;

function scale(axis, low, high) {
  const values = data.values[axis].filter((value) => value !== null);
  let [min, max] = [Math.min(...values), Math.max(...values)];
  const log = min > 0 && max / min >= 10;
  const change = log ? Math.log10 : (value) => value;
  let [from, to] = [change(min), change(max)];
  const room = 0.04 * (to - from) || 0.5;
  from -= room; to += room;
  const ticks = [];
  if (log) {
    const factors = to - from < 2 ? [1, 2, 5] : [1];
    for (let power = Math.floor(from); power <= to; power++)
      for (const factor of factors) ticks.push(factor * 10 ** power);
  } else {
    const raw = (to - from) / 6, unit = 10 ** Math.floor(Math.log10(raw));
    const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= raw);
    for (let value = Math.ceil(from / step) * step; value <= to; value += step) ticks.push(Number(value.toPrecision(12)));
  }
  const at = (value) => low + ((change(value) - from) / (to - from)) * (high - low);
  return { at, ticks: ticks.filter((tick) => change(tick) >= from && change(tick) <= to) };
}

const SHAPES = [
  "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0", "M-3.6-3.6H3.6V3.6H-3.6Z", "M0-4.6L4.4 3.4H-4.4Z", "M0-5L4.4 0L0 5L-4.4 0Z",
  "M0 4.6L4.4-3.4H-4.4Z", "M-1.5-4.5H1.5V-1.5H4.5V1.5H1.5V4.5H-1.5V1.5H-4.5V-1.5H-1.5Z", "M-4-4L4 4M4-4L-4 4",
];

function draw() {
  const [xAxis, yAxis] = [byId("across").value, byId("up").value];
  const x = scale(xAxis, BOX.left, BOX.width - BOX.right), y = scale(yAxis, BOX.height - BOX.bottom, BOX.top);
  scatter.replaceChildren();
  for (const tick of x.ticks) {
    const at = x.at(tick).toFixed(1);
    element(scatter, "path", { class: "grid", d: `M${at} ${BOX.top}V${BOX.height - BOX.bottom}` });
    element(scatter, "text", { x: at, y: BOX.height - BOX.bottom + 16, "text-anchor": "middle" }, short(tick));
  }
  for (const tick of y.ticks) {
    const at = y.at(tick);
    element(scatter, "path", { class: "grid", d: `M${BOX.left} ${at.toFixed(1)}H${BOX.width - BOX.right}` });
    element(scatter, "text", { x: BOX.left - 6, y: at + 4, "text-anchor": "end" }, short(tick));
  }
  element(scatter, "text", { x: (BOX.left + BOX.width) / 2, y: BOX.height - 8, "text-anchor": "middle" }, data.axes[xAxis]);
  const middle = (BOX.height - BOX.bottom) / 2;
  element(scatter, "text", { transform: `translate(14 ${middle}) rotate(-90)`, "text-anchor": "middle" }, data.axes[yAxis]);
  places = data.models.map((model, index) => {
    const [a, b] = [data.values[xAxis][index], data.values[yAxis][index]];
    return a === null || b === null ? null : [x.at(a), y.at(b)];
  });
  places.forEach((place, index) => {
    if (!place) return;
    const model = data.models[index], color = data.colors[model.space % data.colors.length];
    const shape = model.failed ? SHAPES[6] : SHAPES[model.space % 6];
    const paint = model.failed ? { stroke: color, fill: "none" } : { fill: color, "fill-opacity": 0.6 };
    element(scatter, "path", { d: shape, transform: `translate(${place[0].toFixed(1)} ${place[1].toFixed(1)})`, ...paint });
  });
  element(scatter, "circle", { class: "shown", r: 8, visibility: "hidden" });
  if (current >= 0) mark();
}

function mark() {
  const ring = scatter.querySelector(".shown"), place = places[current];
  if (!place) return ring.setAttribute("visibility", "hidden");
  for (const [key, value] of [["cx", place[0]], ["cy", place[1]], ["visibility", "visible"]]) ring.setAttribute(key, value);
}

function nearest(event) {
  const box = scatter.getBoundingClientRect(), factor = BOX.width / box.width;
  const [x, y] = [(event.clientX - box.left) * factor, (event.clientY - box.top) * factor];
  let [best, distance] = [-1, (event.pointerType === "touch" ? 30 : 16) * Math.max(1, factor)];
  places.forEach((place, index) => {
    const away = place ? Math.hypot(place[0] - x, place[1] - y) : Infinity;
    if (away < distance) [best, distance] = [index, away];
  });
  return best;
}

function text(model) {
  const about = { space: data.spaces[model.space], ...model.facts };
  return yaml(model.spec ? { ...model.spec, provenance: about } : about) + "\n";
}

function profile(panel, widths) {
  const total = widths.reduce((sum, run) => sum + run[1], 0), top = Math.log2(Math.max(...widths.map((run) => run[0])));
  const bottom = Math.log2(Math.min(...widths.map((run) => run[0]))) - 1;
  const box = element(panel, "svg", { viewBox: "0 0 300 80", role: "img", preserveAspectRatio: "none" });
  box.setAttribute("aria-label", "Block widths: " + widths.map(([width, count]) => `${count} × ${width}`).join(", "));
  let block = 0;
  for (const [width, count] of widths)
    for (let i = 0; i < count; i++, block++) {
      const height = 4 + (72 * (Math.log2(width) - bottom)) / (top - bottom || 1);
      const size = { x: (300 * block) / total, width: Math.max(1, 300 / total - 1.5), y: 78 - height, height };
      element(box, "rect", { ...size, fill: "#0072b2" });
    }
  element(panel, "p", { class: "soft" }, "Widths: " + widths.map(([width, count]) => `${count} × ${width}`).join(", "));
}

function show(index) {
  current = index;
  mark();
  const model = data.models[index], panel = byId("model");
  panel.replaceChildren();
  element(panel, "h3", {}, `${data.spaces[model.space]} · ${model.name}`);
  const facts = element(panel, "dl");
  for (const [name, value] of Object.entries(model.facts)) {
    element(facts, "dt", {}, data.axes[name] || name);
    element(facts, "dd", {}, short(value));
  }
  if (model.widths) profile(panel, model.widths);
  const button = element(panel, "button", { type: "button" }, "Copy YAML");
  button.addEventListener("click", () => take(index));
  if (model.spec) {
    const defaults = { residual: true, se_ratio: 0, stride: 1, kernel_size: 3 };
    const stages = (model.spec.stages || []).map(({ block, depth, width, ...rest }) =>
      `${depth} × ${width} ${block}` + Object.entries(rest)
        .filter(([key, value]) => value !== null && defaults[key] !== value)
        .map(([key, value]) => `, ${key.replace(/_/g, " ")} ${typeof value === "number" ? short(value) : value}`).join(""));
    element(panel, "pre", {}, stages.join("\n"));
  }
}

async function take(index) {
  await copy(text(data.models[index]));
  const button = byId("model").querySelector("button");
  button.textContent = "YAML copied";
}

function step(by) {
  const order = places.map((place, index) => [place, index]).filter(([place]) => place);
  order.sort((a, b) => a[0][0] - b[0][0] || b[0][1] - a[0][1]);
  const at = order.findIndex(([, index]) => index === current);
  const next = at < 0 ? 0 : (at + by + order.length) % order.length;
  if (order.length) show(order[next][1]);
}

scatter.addEventListener("pointermove", (event) => {
  const found = nearest(event);
  if (found >= 0 && found !== current) show(found);
});
scatter.addEventListener("click", (event) => {
  const found = nearest(event);
  if (found >= 0) { show(found); take(found); }
});
scatter.addEventListener("keydown", (event) => {
  const moves = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
  if (event.key in moves) step(moves[event.key]);
  else if (event.key === "Enter" && current >= 0) take(current);
  else return;
  event.preventDefault();
});

for (const id of ["across", "up"]) {
  for (const [key, label] of Object.entries(data.axes)) element(byId(id), "option", { value: key }, label);
  byId(id).addEventListener("change", draw);
}
byId("across").value = data.x;
byId("up").value = "error_percent";
data.spaces.forEach((name, index) => {
  const item = element(byId("keys"), "li"), icon = element(item, "svg", { viewBox: "-6 -6 12 12" });
  element(icon, "path", { d: SHAPES[index % 6], fill: data.colors[index % data.colors.length] });
  item.append(" " + name);
});
draw();
