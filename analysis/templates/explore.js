"use strict";
/* All models of a report in a scatter plot and in parallel coordinates. Both draw one state, with Plotly. */
(() => {
  const PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#888888"];
  const AXIS_WIDTH = 112;
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
    col.log = col.low > 0 && col.high / col.low >= 10;
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
    return log && values[i] <= 0 ? null : values[i];
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
    const row = (tag, cells) => make("tr", {}, ...cells.map((cell) => make(tag, {}, cell)));
    return make("table", {}, make("thead", {}, row("th", heads)), make("tbody", {}, ...rows.map((r) => row("td", r))));
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

  /* ---- colors, and what the plots share ---- */

  const css = (name) => getComputedStyle(root).getPropertyValue(`--explore-${name}`).trim();
  const scale = () => css("scale").split(",").map((color) => color.trim());
  /* Plotly reads HTML tags and entities in text. */
  const escape = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");

  /* Mix a color with the text color of dark pages; black becomes the text color. */
  function readable(color) {
    if (!/^#[0-9a-f]{6}$/i.test(color)) return color;
    const lift = color === "#000000" ? 1 : Number(css("lift"));
    const channel = (hex, k) => parseInt(hex.slice(2 * k + 1, 2 * k + 3), 16);
    return `rgb(${[0, 1, 2].map((k) => (1 - lift) * channel(color, k) + lift * channel(css("ink"), k)).join()})`;
  }

  const levelColor = (name, level) =>
    readable((name === "space" && data.colors[column(name).levels[level]]) || PALETTE[level % PALETTE.length]);

  /* [color, models] of each category, or of each step of the color scale. */
  function colorGroups(models) {
    const { levels } = column(state.color);
    const colors = levels ? levels.map((_, level) => levelColor(state.color, level)) : scale();
    const groups = new Map();
    for (const i of models) {
      const v = column(state.color).values[i];
      const step = () => Math.min(colors.length - 1, Math.floor(scaled(state.color, v) * colors.length));
      const color = v === null ? css("soft") : colors[levels ? v : step()];
      if (!groups.has(color)) groups.set(color, []);
      groups.get(color).push(i);
    }
    return [...groups];
  }

  const config = (...buttons) => ({
    responsive: true, displaylogo: false, showTips: false, displayModeBar: buttons.length > 0,
    modeBarButtons: [buttons], toImageButtonOptions: { format: "svg", filename: "models" },
  });

  function layout(more) {
    return {
      paper_bgcolor: "transparent", plot_bgcolor: "transparent", showlegend: false, hovermode: "closest",
      font: { color: css("ink"), family: "system-ui, sans-serif", size: 12 },
      hoverlabel: { bgcolor: css("paper"), bordercolor: css("line"), font: { color: css("ink") }, align: "left" },
      modebar: { bgcolor: "transparent", color: css("soft"), activecolor: css("accent") },
      selections: [], selectionrevision: Math.random(), ...more,
    };
  }

  const axisStyle = (title, more) => ({
    title: { text: escape(title) }, gridcolor: css("line"), linecolor: css("soft"), zeroline: false,
    exponentformat: "SI", automargin: true, ...more,
  });

  function hoverText(i) {
    const shown = [...new Set([data.error, state.x.name, state.y.name, state.color])];
    const facts = shown.map((name) => `${shortLabel(name)}: ${failed(name, i) ? "failed" : format(value(name, i))}`);
    return [data.models[i].name, data.models[i].space, ...facts].map(escape).join("<br>");
  }

  /* ---- scatter plot ---- */

  function points(models, marker, more) {
    return {
      type: "scatter", mode: "markers", customdata: models, hoverinfo: "text", text: models.map(hoverText),
      x: models.map((i) => coordinate("x", i)), y: models.map((i) => coordinate("y", i)), selectedpoints: null,
      marker: { size: ids.length > 500 ? 6 : 9, symbol: models.map((i) => (data.failed[i] ? "x" : "circle")), ...marker },
      ...more,
    };
  }

  function scaledPoints(models) {
    const ticks = [0, 0.25, 0.5, 0.75, 1];
    const colorbar = {
      orientation: "h", y: 1.01, yanchor: "bottom", thickness: 8, outlinewidth: 0,
      title: { text: escape(label(state.color)), side: "top" },
      tickvals: ticks, ticktext: ticks.map((t) => format(valueAt(state.color, t))),
    };
    const colorscale = scale().map((stop, k, all) => [k / (all.length - 1), stop]);
    const known = models.filter((i) => value(state.color, i) !== null);
    const color = known.map((i) => position(state.color, i));
    return [
      points(models.filter((i) => value(state.color, i) === null), { color: css("soft") }),
      points(known, { color, colorscale, cmin: 0, cmax: 1, colorbar, opacity: 0.85 }),
    ];
  }

  /* A frame around the model of the card. Plotly wants logarithms in annotations. */
  function scatterFrame() {
    const [x, y] = ["x", "y"].map((axis) => [coordinate(axis, state.current), state[axis].log])
      .map(([v, log]) => (log && v !== null ? Math.log10(v) : v));
    const box = { width: 14, height: 14, bordercolor: css("ink"), borderwidth: 2, showarrow: false, text: "" };
    return x === null || y === null ? [] : [{ x, y, ...box }];
  }

  function drawScatter(selected) {
    const others = ids.filter((i) => !selected.has(i));
    const { levels } = column(state.color);
    const colored = levels
      ? colorGroups(selected).map(([color, models]) => points(models, { color, opacity: 0.8 }))
      : scaledPoints([...selected]);
    const axis = ({ name, log }) => axisStyle(label(name), {
      type: log ? "log" : "linear", ...(log && { tickformat: "~s", nticks: 5 }),
    });
    part("hidden").textContent = ["x", "y"].map((end) => {
      const count = ids.filter((i) => coordinate(end, i) === null).length;
      const failures = state[end].name === data.error && data.failed.includes(1);
      return (failures ? "Crosses at the margin are failed models. " : "")
        + (count ? `Not drawn: ${count} models without a${state[end].log ? " positive" : ""} value of ${label(state[end].name)}. ` : "");
    }).join("");
    return Plotly.react(part("scatter"), [points(others, { color: css("soft"), opacity: 0.15 }), ...colored], layout({
      xaxis: axis(state.x), yaxis: axis(state.y), annotations: scatterFrame(), uirevision: JSON.stringify([state.x, state.y]),
      margin: { l: 12, r: 12, t: levels ? 32 : 84, b: 12 }, dragmode: touch ? false : "zoom",
    }), config("zoom2d", "pan2d", "select2d", "lasso2d", "resetScale2d", "toImage"));
  }

  /* ---- parallel coordinates ---- */

  function lines(models, line, more) {
    const repeated = (of) => models.flatMap((i) => [...Array(data.axes.length).fill(of(i)), null]); // null ends a line
    return {
      type: "scatter", mode: "lines", line, hoverinfo: "text", customdata: repeated((i) => i), text: repeated(hoverText),
      x: models.flatMap(() => [...data.axes.keys(), null]),
      y: models.flatMap((i) => [...data.axes.map((name) => position(name, i)), null]), ...more,
    };
  }

  function ticks(name) {
    const { levels, low, high, log, distinct } = column(name);
    if (levels) return levels.map((text, k) => [k, text.slice(0, 14)]);
    const decade = 10 ** Math.floor(Math.log10(high - low || 1));
    const step = [0.2, 0.5, 1, 2].map((factor) => factor * decade).find((size) => (high - low) / size <= 6);
    const powers = Array.from({ length: 24 }, (_, k) => 10 ** (Math.floor(Math.log10(low)) + k));
    const logarithmic = () => powers.flatMap((power) => (high / low > 1e3 ? [power] : [power, 2 * power, 5 * power]));
    const linear = () => Array.from({ length: 8 }, (_, k) => (Math.ceil(low / step) + k) * step);
    const values = distinct.length <= 6 ? distinct : log ? logarithmic() : linear();
    return values.filter((v) => v >= low && v <= high).map((v) => [v, format(v)]);
  }

  /* The axes, the brushes, and the line of the model of the card. */
  function parallelShapes() {
    const axes = data.axes.map((_, k) => ({ type: "line", x0: k, x1: k, y0: 0, y1: 1, line: { color: css("soft"), width: 1 } }));
    const brushes = data.axes.flatMap((name, k) => {
      const filter = state.filters.get(name);
      if (!filter || filter.levels) return [];
      const [y0, y1] = [filter.low, filter.high].map((v) => Math.min(1, Math.max(0, scaled(name, v) || 0)));
      const box = { x0: k - 0.07, x1: k + 0.07, y0, y1 };
      return [{ type: "rect", ...box, fillcolor: css("accent"), opacity: 0.35, line: { width: 0 } }];
    });
    const corners = data.axes.map((name, k) => [k, position(name, state.current)]).filter(([, y]) => y !== null);
    const path = `M${corners.map((corner) => corner.join()).join("L")}`;
    return [...axes, ...brushes, { type: "path", path, line: { color: css("ink"), width: 3 } }];
  }

  function drawParallel(selected) {
    const others = lines(ids.filter((i) => !selected.has(i)), { color: css("soft"), width: 0.5 }, { hoverinfo: "skip", opacity: 0.2 });
    /* In small batches, so that no color covers all others. */
    const [models, colored] = [[...selected], []];
    const batch = Math.max(10, Math.ceil(models.length / 20));
    for (let start = 0; start < models.length; start += batch)
      for (const [color, some] of colorGroups(models.slice(start, start + batch)))
        colored.push(lines(some, { color, width: 1.2 }, { opacity: Math.max(0.15, Math.min(0.7, 100 / models.length)) }));
    const note = (x, y, text, more) => ({ x, y, text, showarrow: false, ...more });
    const annotations = data.axes.flatMap((name, k) => [
      note(k, 1.1, `<b>${escape(shortLabel(name)).replace(/(.{6,}?) /g, "$1<br>")}</b>`, { yanchor: "bottom" }),
      ...ticks(name).map(([v, text]) => note(k, scaled(name, v), escape(text), { xanchor: "left", xshift: 3, bgcolor: css("veil") })),
    ]);
    const hidden = (range) => ({ visible: false, fixedrange: true, range });
    part("parallel").style.minWidth = `${AXIS_WIDTH * data.axes.length}px`;
    return Plotly.react(part("parallel"), [others, ...colored], layout({
      shapes: parallelShapes(), annotations, xaxis: hidden([-0.4, data.axes.length - 0.3]), yaxis: hidden([-0.05, 1.25]),
      margin: { l: 0, r: 0, t: 28, b: 0 }, dragmode: touch ? false : "select", selectdirection: "d", uirevision: "drag",
    }), config("select2d", "toImage"));
  }

  function brush({ x, y }) {
    const [left, right, bottom, top] = [Math.min(...x), Math.max(...x), Math.min(...y), Math.max(...y)];
    data.axes.forEach((name, k) => {
      if ((k < left || k > right) && k !== Math.round((left + right) / 2)) return;
      const { levels } = column(name);
      const inside = levels && [...levels.keys()].filter((level) => scaled(name, level) >= bottom && scaled(name, level) <= top);
      const range = { low: valueAt(name, Math.max(0, bottom)), high: valueAt(name, Math.min(1, top)) };
      state.filters.set(name, levels ? { levels: new Set(inside) } : range);
    });
    draw();
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
      const field = make("input", { type: "text", inputMode: "decimal", size: 8, ariaLabel, value: Number(filter[end].toPrecision(4)) });
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
    const groups = [...shown].map((name) => make("fieldset", {},
      make("legend", {}, label(name)), ...(column(name).levels ? levelBoxes(name) : rangeInputs(name)),
      ...(state.filters.has(name) ? [button("×", () => { state.filters.delete(name); draw(); }, { ariaLabel: `Remove the filter on ${label(name)}` })] : [])));
    const add = make("select", { ariaLabel: "Add filter" }, make("option", { value: "" }, "Add filter…"), ...options(names().filter((name) => !shown.has(name))));
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
    part("status").textContent = [
      all ? `All ${text(data.total)} models` : `${about}${text(total(models))} of ${text(data.total)} models selected`,
      ...(failures.length ? [`${text(total(failures))} failed`] : []),
      ...(finished.length ? [`mean error ${(total(finished, (i) => value(data.error, i)) / total(finished)).toFixed(2)} %`] : []),
    ].join(", ");
    part("clear").disabled = all;
    const best = finished.sort((a, b) => value(data.error, a) - value(data.error, b)).slice(0, 10);
    const shown = [data.error, ...data.axes.filter((name) => name !== data.error)];
    part("best").replaceChildren(table(["model", "space", ...shown.map(shortLabel)], best.map((i) =>
      [button(data.models[i].name, () => open(i, true)), data.models[i].space, ...shown.map((name) => format(value(name, i)))])));
    return best;
  }

  function smallPlot(element, x, y, xTitle, yTitle, line) {
    const trace = { type: "scatter", mode: "lines+markers", x, y, hoverinfo: "x+y", line: { color: css("accent"), ...line } };
    return Plotly.newPlot(element, [trace], layout({
      dragmode: false, margin: { l: 8, r: 8, t: 8, b: 8 },
      xaxis: axisStyle(xTitle, { fixedrange: true, dtick: Math.ceil(x.length / 8) }),
      yaxis: axisStyle(yTitle, { fixedrange: true, nticks: 5, rangemode: "tozero" }),
    }), config());
  }

  function open(i, focus = false) {
    state.current = i;
    const { name, id, failure, spec, widths = [], curve = [], export: command } = data.models[i];
    const text = spec && yaml(spec);
    const buttons = () => make("p", { className: "explore-row" }, button("Copy YAML", () => copy(text, "YAML")),
      button("Download YAML", () => download(`${id}.yaml`, text)), button("Copy export command", () => copy(command, "export command")));
    const facts = names().filter((key) => value(key, i) !== null && key !== "status").map((key) => [shortLabel(key), format(value(key, i))]);
    const terms = [["spec_id", id], ...facts].flatMap(([term, fact]) => [make("dt", {}, term), make("dd", {}, fact)]);
    const [profile, learning] = [1, 2].map(() => make("div", { className: "explore-small" }));
    const blocks = widths.flatMap(([width, run]) => Array(run).fill(width));
    const stages = Array.isArray(spec?.stages) ? spec.stages : [];
    const keys = [...new Set(stages.flatMap(Object.keys))];
    const cells = (stage) => keys.map((key) => format(Array.isArray(stage[key]) ? stage[key].join(", ") : stage[key]));
    const stageTable = () => table(["stage", ...keys.map((key) => key.replace(/_/g, " "))], stages.map((stage, k) => [String(k + 1), ...cells(stage)]));
    part("card").replaceChildren(
      make("h3", {}, name), ...(failure ? [make("p", { className: "explore-failure" }, `Failed: ${failure}`)] : []),
      spec ? buttons() : make("p", { className: "explore-note" }, "The table has no spec of this model."), make("dl", {}, ...terms),
      ...(blocks.length ? [make("h4", {}, "Width of each block"), profile] : []),
      ...(curve.length ? [make("h4", {}, "Validation error of each epoch"), learning] : []),
      ...(keys.length ? [make("h4", {}, "Stages"), make("div", { className: "explore-scroll" }, stageTable())] : []),
      ...(spec ? [make("details", {}, make("summary", {}, "YAML and export command"), make("pre", {}, text), make("pre", {}, command))] : []),
    );
    const count = (list) => list.map((_, k) => k + 1);
    if (blocks.length) smallPlot(profile, count(blocks), blocks, "block", "channels", { shape: "hvh" });
    if (curve.length) smallPlot(learning, count(curve), curve, "epoch", "error (%)");
    Plotly.relayout(part("scatter"), { annotations: scatterFrame() });
    Plotly.relayout(part("parallel"), { shapes: parallelShapes() });
    if (focus) part("card").focus();
  }

  function step(event) {
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const at = new Map(ids.map((i) => [i, coordinate("x", i)]));
    const order = ids.filter((i) => isSelected(i) && at.get(i) !== null && coordinate("y", i) !== null).sort((a, b) => at.get(a) - at.get(b));
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
    const csv = () => [["spec_id", ...names()], ...selected().map((i) => [data.models[i].id, ...names().map((name) => value(name, i))])];
    part("clear").onclick = () => { state.filters.clear(); state.picked = null; draw(); };
    part("ids").onclick = () => copy(selected().map((i) => data.models[i].id).join("\n"), `${selected().length} spec_ids`);
    part("csv").onclick = () => download("models.csv", csv().map((row) => row.map(cell).join(",")).join("\n"));
    part("scatter").addEventListener("keydown", step);
  }

  /* Plotly adds `on` to an element with its first plot. */
  function listen() {
    for (const name of ["scatter", "parallel"]) part(name).on("plotly_click", (event) => open(event.points[0].customdata));
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
      x: { name: data.x, log: column(data.x).log }, y: { name: data.error, log: false }, color: names().find((name) => column(name).levels) ?? data.error, filters: new Map(), picked: null, current: 0,
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
})();
