/* All models of a report in a scatter plot and in parallel coordinates. Both draw one state. */

const PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#888888"];
const AXIS_WIDTH = 90;
const FAILED = 1.07; // position of failed models on the error axis; the others lie between 0 and 1
const touch = matchMedia("(pointer: coarse)").matches;
const root = document.getElementById("explore");
const part = (name) => root.querySelector(`[data-part="${name}"]`);
let data, ids, state;

/* ---- data ---- */

async function inflate(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

const column = (name) => data.columns[name];
const names = () => Object.keys(data.columns);
const label = (name) => column(name).label;
const shortLabel = (name) => label(name).split(" (")[0];
const failed = (name, i) => name === data.error && data.failed[i] === 1;

function value(name, i) {
  const { values, levels } = column(name);
  return levels ? levels[values[i]] : values[i];
}

function addRange(col) {
  const numbers = col.values.filter((v) => v !== null);
  col.distinct = [...new Set(numbers)].sort((a, b) => a - b);
  [col.low, col.high] = [col.distinct[0] ?? 0, col.distinct.at(-1) ?? 0];
}

/* Position of a value between 0 and 1, and the value at a position. */
function scaled(name, v) {
  const { levels, low, high, log } = column(name);
  if (levels) return v / (levels.length - 1 || 1);
  if (low === high) return 0.5;
  return log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
}

function valueAt(name, t) {
  const { low, high, log } = column(name);
  if (t <= 0 || t >= 1) return t <= 0 ? low : high;
  return log ? low * (high / low) ** t : low + t * (high - low);
}

function position(name, i) {
  const v = column(name).values[i];
  return v !== null ? scaled(name, v) : failed(name, i) ? FAILED : null;
}

/* Value on an axis of the scatter plot; null where there is none. */
function coordinate(axis, i) {
  const { name, log } = state[axis];
  const { low, high, values } = column(name);
  if (failed(name, i)) return log ? low * (high / low) ** FAILED : high + (FAILED - 1) * (high - low || 1);
  return values[i];
}

function isSelected(i) {
  return (!state.picked || state.picked.has(i)) && [...state.filters].every(([name, { levels, low, high }]) => {
    const v = column(name).values[i];
    return levels ? levels.has(v) : v !== null && v >= low && v <= high;
  });
}

function format(v) {
  if (typeof v !== "number") return String(v ?? "–");
  const units = [[1e9, 1e9, "G"], [1e6, 1e6, "M"], [1e4, 1e3, "k"]];
  const [, scale, unit] = units.find(([least]) => Math.abs(v) >= least) ?? [0, 1, ""];
  return Number((v / scale).toPrecision(4)) + unit;
}

function yaml(spec) {
  const word = (text) => /^[a-z]\w*$/i.test(text) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(text);
  const text = (v) => (typeof v === "string" && word(v) ? v : JSON.stringify(v));
  const flow = (v) => {
    if (Array.isArray(v)) return `[${v.map(flow).join(", ")}]`;
    if (!v || typeof v !== "object") return text(v);
    return `{${Object.entries(v).map(([key, item]) => `${text(key)}: ${flow(item)}`).join(", ")}}`;
  };
  const block = (v) => (Array.isArray(v) && v.length ? v.map((item) => `\n- ${flow(item)}`).join("") : ` ${flow(v)}`);
  return Object.entries(spec).map(([key, v]) => `${text(key)}:${block(v)}\n`).join("");
}

/* ---- elements ---- */

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const button = (text, onclick, more) => make("button", { type: "button", onclick, ...more }, text);
const options = (list) => list.map((name) => make("option", { value: name }, label(name)));

function table(heads, rows) {
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page served over http
    const area = document.body.appendChild(make("textarea", { value: text }));
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  part("copied").textContent = `Copied ${what}.`;
}

function download(name, text) {
  make("a", { download: name, href: `data:text/plain;charset=utf-8,${encodeURIComponent(text)}` }).click();
}

/* ---- filters ---- */

function levelBoxes(name) {
  const { levels } = column(name);
  const chosen = state.filters.get(name)?.levels ?? new Set(levels.keys());
  return levels.map((text, level) => {
    const box = make("input", { type: "checkbox", checked: chosen.has(level) });
    box.onchange = () => {
      if (box.checked) chosen.add(level); else chosen.delete(level);
      state.filters.set(name, { levels: chosen });
      draw(false);
    };
    const swatch = name === state.color ? [make("span", { className: "explore-swatch" })] : [];
    for (const span of swatch) span.style.background = levelColor(name, level);
    return make("label", {}, box, ...swatch, text);
  });
}

function rangeInputs(name) {
  const filter = state.filters.get(name);
  const input = (end, ariaLabel) => {
    const text = Number(filter[end].toPrecision(4));
    const field = make("input", { type: "text", inputMode: "decimal", size: 8, ariaLabel, value: text });
    field.onchange = () => {
      const number = field.value.trim() ? Number(field.value) : NaN;
      field.ariaInvalid = String(Number.isNaN(number));
      if (!Number.isNaN(number)) filter[end] = number;
      draw(false);
    };
    return field;
  };
  return [input("low", `Minimum of ${label(name)}`), "to", input("high", `Maximum of ${label(name)}`)];
}

function showFilters() {
  const shown = new Set([...(column(state.color).levels ? [state.color] : []), ...state.filters.keys()]);
  const remove = (name) =>
    button("×", () => { state.filters.delete(name); draw(); }, { ariaLabel: `Remove the filter on ${label(name)}` });
  const groups = [...shown].map((name) => make("fieldset", {},
    make("legend", {}, label(name)), ...(column(name).levels ? levelBoxes(name) : rangeInputs(name)),
    ...(state.filters.has(name) ? [remove(name)] : [])));
  const others = names().filter((name) => !shown.has(name));
  const prompt = make("option", { value: "" }, "Add filter…");
  const add = make("select", { ariaLabel: "Add filter" }, prompt, ...options(others));
  add.onchange = () => {
    const { levels, low, high } = column(add.value);
    state.filters.set(add.value, levels ? { levels: new Set(levels.keys()) } : { low, high });
    draw();
  };
  part("filters").replaceChildren(...groups, add);
}

/* ---- selection and model card ---- */

function showSelection(selected) {
  const total = (models, of = () => 1) => models.reduce((sum, i) => sum + (data.weights[i] ?? 1) * of(i), 0);
  const text = (number) => Math.round(number).toLocaleString("en");
  const [models, all] = [[...selected], selected.size === ids.length];
  const finished = models.filter((i) => !data.failed[i]);
  const failures = models.filter((i) => data.failed[i]);
  const about = data.weights.length ? "About " : "";
  const some = () => `${about}${text(total(models))} of ${text(data.total)} models selected`;
  const mean = () => total(finished, (i) => value(data.error, i)) / total(finished);
  part("status").textContent = [
    !all ? some() : data.total === 1 ? "1 model" : `All ${text(data.total)} models`,
    ...(failures.length ? [`${text(total(failures))} failed`] : []),
    ...(finished.length ? [`mean error ${mean().toFixed(2)} %`] : []),
  ].join(", ");
  part("clear").disabled = all;
  const best = finished.sort((a, b) => value(data.error, a) - value(data.error, b)).slice(0, 10);
  const shown = [...new Set([data.error, ...data.axes])];
  const row = (i) => {
    const { name, space = "" } = data.models[i];
    return [button(name, () => open(i, true)), space, ...shown.map((key) => format(value(key, i)))];
  };
  part("best").replaceChildren(table(["model", "space", ...shown.map(shortLabel)], best.map(row)));
  return best;
}

function smallPlot(title, y, xTitle, yTitle, line) {
  const element = make("div", { className: "explore-small" });
  part("card").append(make("h4", {}, title), element);
  const x = y.map((_, k) => k + 1);
  const color = css("accent");
  const mode = y.length > 50 ? "lines" : "lines+markers";
  const trace = { type: "scatter", mode, x, y, hoverinfo: "x+y", line: { color, ...line } };
  Plotly.newPlot(element, [trace], layout({
    dragmode: false, margin: { l: 8, r: 8, t: 8, b: 8 },
    xaxis: axisStyle(xTitle, { fixedrange: true, ...(y.length > 8 ? { nticks: 6 } : { dtick: 1 }) }),
    yaxis: axisStyle(yTitle, { fixedrange: true, nticks: 5, rangemode: "tozero" }),
  }), config());
}

function stageTable(stages) {
  const keys = [...new Set(stages.flatMap(Object.keys))];
  const text = (v) => format(Array.isArray(v) ? v.join(", ") : v);
  const rows = stages.map((stage, k) => [String(k + 1), ...keys.map((key) => text(stage[key]))]);
  return table(["stage", ...keys.map((key) => key.replace(/_/g, " "))], rows);
}

/* Open the card of a model. */
function open(i, focus = false) {
  state.current = i;
  const { name, id, failure, spec, widths = [], curve = [], export: command } = data.models[i];
  const facts = names().filter((key) => value(key, i) !== null && key !== "status");
  const terms = [["spec_id", id], ...facts.map((key) => [shortLabel(key), format(value(key, i))])];
  const list = make("dl", {}, ...terms.flatMap(([term, fact]) => [make("dt", {}, term), make("dd", {}, fact)]));
  const card = part("card");
  card.querySelectorAll(".explore-small").forEach((plot) => Plotly.purge(plot));
  card.replaceChildren(make("h3", {}, name));
  if (failure) card.append(make("p", { className: "explore-failure" }, `Failed: ${failure}`));
  const text = spec && yaml(spec);
  if (spec) {
    card.append(make("p", { className: "explore-row" },
      button("Copy YAML", () => copy(text, "YAML")), button("Download YAML", () => download(`${id}.yaml`, text)),
      button("Copy export command", () => copy(command, "export command"))));
  } else card.append(make("p", { className: "explore-note" }, "The table has no spec of this model."));
  card.append(list);
  const blocks = widths.flatMap(([width, run]) => Array(run).fill(width));
  if (blocks.length) smallPlot("Width of each block", blocks, "block", "channels", { shape: "hvh" });
  if (curve.length) smallPlot("Validation error of each epoch", curve, "epoch", "error (%)");
  if (spec?.stages?.length) {
    card.append(make("h4", {}, "Stages"), make("div", { className: "explore-scroll" }, stageTable(spec.stages)));
  }
  if (spec) {
    const details = [make("summary", {}, "YAML and export command"), make("pre", {}, text), make("pre", {}, command)];
    card.append(make("details", {}, ...details));
  }
  Plotly.relayout(part("scatter"), { annotations: scatterFrame() });
  Plotly.relayout(part("parallel"), { shapes: parallelShapes() });
  if (focus) card.focus();
}

function step(event) {
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const at = new Map(ids.map((i) => [i, coordinate("x", i)]));
  const drawn = ids.filter((i) => isSelected(i) && at.get(i) !== null && coordinate("y", i) !== null);
  const order = drawn.sort((a, b) => at.get(a) - at.get(b));
  if (!direction || !order.length) return;
  event.preventDefault();
  open(order.at((order.indexOf(state.current) + direction) % order.length));
}

function draw(filtersChanged = true) {
  const selected = new Set(ids.filter(isSelected));
  if (filtersChanged) showFilters();
  drawScatter(selected);
  drawParallel(selected);
  return showSelection(selected);
}

/* ---- controls ---- */

function connect() {
  for (const axis of ["x", "y"]) {
    const [select, box] = [part(axis), part(`${axis}-log`)];
    select.append(...options(names().filter((name) => !column(name).levels)));
    select.value = state[axis].name;
    select.onchange = () => {
      state[axis] = { name: select.value, log: column(select.value).log && select.value !== data.error };
      Object.assign(box, { checked: state[axis].log, disabled: column(select.value).low <= 0 });
      draw();
    };
    box.onchange = () => { state[axis].log = box.checked; draw(); };
    Object.assign(box, { checked: state[axis].log, disabled: column(state[axis].name).low <= 0 });
  }
  part("color").append(...options(names()));
  part("color").value = state.color;
  part("color").onchange = () => { state.color = part("color").value; draw(); };
  const selected = () => ids.filter(isSelected);
  const cell = (v) => (/[",\n\r]/.test(v) ? `"${v.replace(/"/g, '""')}"` : v);
  const row = (i) => [data.models[i].id, ...names().map((name) => value(name, i) ?? "")];
  const csv = () => [["spec_id", ...names()], ...selected().map(row)].map((cells) => cells.map(cell).join()).join("\n");
  part("clear").onclick = () => { state.filters.clear(); state.picked = null; draw(); };
  const specIds = () => selected().map((i) => data.models[i].id);
  part("ids").onclick = () => copy(specIds().join("\n"), `${specIds().length} spec_ids`);
  part("csv").onclick = () => download("models.csv", csv());
  part("scatter").addEventListener("keydown", step);
}

/* Plotly adds `on` to an element with its first plot. */
function listen() {
  const openPoint = (event) => open(event.points[0].customdata);
  part("scatter").on("plotly_click", openPoint);
  part("parallel").on("plotly_click", openPoint);
  part("scatter").on("plotly_selected", (event) => {
    if (event?.points?.length) { state.picked = new Set(event.points.map((point) => point.customdata)); draw(); }
  });
  part("scatter").on("plotly_deselect", () => { state.picked = null; draw(); });
  part("parallel").on("plotly_selected", (event) => event?.range && brush(event.range));
  part("parallel").on("plotly_deselect", () => part("clear").click());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { draw(); open(state.current); });
}

async function start() {
  const [library, payload] = await Promise.all([inflate("explore-library"), inflate("explore-data")]);
  document.head.append(make("script", { textContent: library }));
  data = JSON.parse(payload);
  ids = [...data.models.keys()];
  names().map(column).filter((col) => !col.levels).forEach(addRange);
  state = {
    x: { name: data.x, log: column(data.x).log && data.x !== data.error },
    y: { name: data.error, log: false },
    color: names().find((name) => column(name).levels) ?? data.error,
    filters: new Map(), // column: { low, high } or { levels }
    picked: null, // models of a box or lasso
    current: 0, // model of the card
  };
  part("loading").hidden = true;
  part("view").hidden = false;
  connect();
  const best = draw();
  listen();
  open(best[0] ?? 0);
  root.dataset.ready = "true";
}

new IntersectionObserver((entries, observer) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  observer.disconnect();
  start().catch((error) => {
    part("loading").textContent = `This view needs a browser from 2023 or later (${error.message}).`;
    throw error;
  });
}, { rootMargin: "600px" }).observe(root);
