"use strict";
/* The explorer: one state, drawn by Plotly as a scatter plot and as parallel coordinates. */
(() => {
  const root = document.getElementById("explore");
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const AXIS_WIDTH = 96;
  const PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#888888"];
  const DRAG = { zoom: "Zoom", select: "Box", lasso: "Lasso", scroll: "Scroll" };
  const touch = matchMedia("(pointer: coarse)").matches;
  let data, ids, state;

  /* ---- data ---- */

  async function inflate(id) {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).text();
  }

  const column = (name) => data.columns[name];
  const value = (name, i) => {
    const { values, levels } = column(name);
    return levels ? levels[values[i]] : values[i];
  };

  function addRange(col) {
    const numbers = col.values.filter((v) => v !== null);
    [col.low, col.high] = [Math.min(...numbers), Math.max(...numbers)];
    col.positive = col.low > 0;
    col.log = col.positive && col.high / col.low >= 10;
    col.integer = numbers.every(Number.isInteger);
    col.distinct = [...new Set(numbers)].sort((a, b) => a - b);
  }

  /* A position in 0..1 along the axis of a column, and its inverse. A failed model lies above the error axis. */
  function position(name, i) {
    const { values, levels, low, high, log } = column(name);
    const v = values[i];
    if (v === null) return name === data.error && data.failed[i] ? 1.07 : null;
    if (levels) return v / (levels.length - 1 || 1);
    if (low === high) return 0.5;
    return log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
  }

  function valueAt(name, t) {
    const { low, high, log } = column(name);
    return log ? low * (high / low) ** t : low + t * (high - low);
  }

  const passes = (i) => (!state.picked || state.picked.has(i)) && [...state.filters].every(([name, filter]) => {
    const v = column(name).values[i];
    return filter.levels ? filter.levels.has(v) : v !== null && v >= filter.low && v <= filter.high;
  });

  function format(v) {
    if (typeof v !== "number") return v ?? "–";
    const [scale, unit] = [[1e9, "G"], [1e6, "M"], [1e4, "k"]].find(([size]) => Math.abs(v) >= size) ?? [1, ""];
    return Number((v / (unit === "k" ? 1e3 : scale)).toPrecision(4)) + unit;
  }

  function yaml(spec) {
    const plain = (s) => (/^[a-z][a-z0-9_]*$/i.test(s) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(s) ? s : JSON.stringify(s));
    const flow = (v) => {
      if (Array.isArray(v)) return `[${v.map(flow).join(", ")}]`;
      if (v && typeof v === "object") return `{${Object.entries(v).map(([k, x]) => `${plain(k)}: ${flow(x)}`).join(", ")}}`;
      return typeof v === "string" ? plain(v) : JSON.stringify(v);
    };
    const lines = ([k, v]) => (Array.isArray(v) && v.length ? `${plain(k)}:\n${v.map((x) => `- ${flow(x)}\n`).join("")}` : `${plain(k)}: ${flow(v)}\n`);
    return Object.entries(spec).map(lines).join("");
  }

  /* ---- elements ---- */

  function make(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function button(text, onclick, label = text) {
    const element = make("button", { type: "button", onclick }, text);
    if (label !== text) element.setAttribute("aria-label", label);
    return element;
  }

  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
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

  function table(heads, rows) {
    const row = (cells, tag) => make("tr", {}, ...cells.map((cell) => make(tag, {}, cell ?? "–")));
    return [make("thead", {}, row(heads, "th")), make("tbody", {}, ...rows.map((cells) => row(cells, "td")))];
  }

  /* ---- colors and text for Plotly ---- */

  const css = (name) => getComputedStyle(root).getPropertyValue(`--explore-${name}`).trim();
  /* Plotly reads HTML tags and entities in text. */
  const escape = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
  const label = (name) => column(name).label;
  const shortLabel = (name) => escape(label(name).split(" (")[0]).replace(/(.{6,}?) /g, "$1<br>");

  function levelColor(name, level) {
    const own = name === "space" && data.colors[column(name).levels[level]];
    return /^(#000000|#000|black)$/.test(own) ? css("ink") : own || PALETTE[level % PALETTE.length];
  }

  /* The models by color: one group for each category, or for each step of the scale. */
  function colorGroups(models) {
    const { values, levels } = column(state.color);
    const scale = css("scale").split(",").map((c) => c.trim());
    const colors = levels ? levels.map((_, k) => levelColor(state.color, k)) : [...scale, css("ink")];
    const groups = colors.map((color) => ({ color, models: [] }));
    for (const i of models) {
      const t = position(state.color, i);
      const missing = t === null || t > 1;
      groups[levels ? values[i] : missing ? scale.length : Math.min(scale.length - 1, Math.floor(t * scale.length))].models.push(i);
    }
    return groups.filter((group) => group.models.length);
  }

  const layout = (more) => ({
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", showlegend: false, hovermode: "closest",
    font: { color: css("ink"), family: "system-ui, sans-serif", size: 13 }, selections: [], selectionrevision: Math.random(),
    hoverlabel: { bgcolor: css("paper"), bordercolor: css("line"), font: { color: css("ink") }, align: "left" }, ...more,
  });
  const gridAxis = (more) => ({ gridcolor: css("line"), zeroline: false, linecolor: css("soft"), exponentformat: "SI", automargin: true, ...more });
  const CONFIG = { responsive: true, displayModeBar: false, showTips: false };

  const hover = (i) => [data.models[i].name, data.models[i].space, ...new Set([data.error, state.x, state.y, state.color])]
    .map((line, k) => escape(k < 2 ? line : `${label(line)}: ${line === data.error && data.failed[i] ? "failed" : format(value(line, i))}`))
    .join("<br>");

  /* ---- scatter plot ---- */

  function coordinate(name, log, i) {
    const v = value(name, i);
    const { low, high } = column(name);
    if (v === null && name === data.error && data.failed[i]) return log ? high * (high / low) ** 0.06 : high + 0.06 * (high - low || 1);
    return log && v <= 0 ? null : v;
  }

  function drawScatter(active) {
    const { x, y, logX, logY, current } = state;
    const points = (models, marker, more) => ({
      type: "scatter", mode: "markers", customdata: models, x: models.map((i) => coordinate(x, logX, i)),
      y: models.map((i) => coordinate(y, logY, i)), text: models.map(hover), hoverinfo: "text", selectedpoints: null,
      marker: { size: ids.length > 500 ? 6 : 8, symbol: models.map((i) => (data.failed[i] ? "x" : "circle")), ...marker }, ...more,
    });
    const inactive = ids.filter((i) => !active.has(i));
    const traces = [points(inactive, { color: css("soft"), opacity: 0.15 })];
    const scale = css("scale").split(",");
    const { levels, log, low, high } = column(state.color);
    if (levels) {
      for (const { color, models } of colorGroups(active)) traces.push(points(models, { color, opacity: 0.75 }));
    } else {
      const models = [...active];
      const ticks = [0, 0.25, 0.5, 0.75, 1];
      traces.push(points(models, {
        color: models.map((i) => Math.min(1, position(state.color, i) ?? 1)), cmin: 0, cmax: 1, opacity: 0.85,
        colorscale: scale.map((c, k) => [k / (scale.length - 1), c.trim()]),
        colorbar: { orientation: "h", y: 1.01, yanchor: "bottom", thickness: 8, outlinewidth: 0, tickvals: ticks,
          ticktext: ticks.map((t) => format(valueAt(state.color, t))), title: { text: escape(label(state.color)) + (log ? " (log)" : ""), side: "top" } },
      }));
    }
    if (current !== null) traces.push(points([current], { size: 14, color: css("ink"), symbol: "circle-open", line: { width: 2.5 } }, { hoverinfo: "skip" }));
    const axis = (name, log) => gridAxis({ title: { text: escape(label(name)) }, type: column(name).levels ? "category" : log ? "log" : "linear", dtick: log && column(name).high / column(name).low < 100 ? "D2" : undefined });
    const margin = { l: 12, r: 12, t: levels ? 12 : 60, b: 12 };
    const dragmode = state.drag === "scroll" ? false : state.drag;
    const failing = [x, y].includes(data.error) && ids.some((i) => data.failed[i]);
    part("hidden").textContent = [
      failing && "Crosses at the margin are failed models.",
      ...[[x, logX], [y, logY]].map(([name, log]) => {
        const count = ids.filter((i) => coordinate(name, log, i) === null).length;
        return count && `${count} models have no ${log ? "positive " : ""}value of ${label(name)}.`;
      }),
    ].filter(Boolean).join(" ");
    return Plotly.react(part("scatter"), traces, layout({ xaxis: axis(x, logX), yaxis: axis(y, logY), margin, dragmode, uirevision: [x, y, logX, logY].join() }), CONFIG);
  }

  /* ---- parallel coordinates ---- */

  function axisTicks(name) {
    const { levels, integer, distinct } = column(name);
    if (levels) return levels.map((text, k) => ({ t: k / (levels.length - 1 || 1), text: text.slice(0, 14) }));
    const nearest = (v) => ids.find((i) => column(name).values[i] === v);
    if (distinct.length <= 6) return distinct.map((v) => ({ t: position(name, nearest(v)), text: format(v) }));
    return [0, 0.25, 0.5, 0.75, 1].map((t) => ({ t, text: format(integer ? Math.round(valueAt(name, t)) : valueAt(name, t)) }));
  }

  function drawParallel(active) {
    const { axes } = state;
    const lines = (models, line, more) => {
      const x = [], y = [], customdata = [], text = [];
      for (const i of models) {
        const box = hover(i);
        axes.forEach((name, k) => { x.push(k); y.push(position(name, i)); customdata.push(i); text.push(box); });
        x.push(null); y.push(null); customdata.push(null); text.push("");
      }
      return { type: "scatter", mode: "lines", x, y, customdata, text, hoverinfo: "text", line, ...more };
    };
    const traces = [lines(ids.filter((i) => !active.has(i)), { color: css("soft"), width: 0.5 }, { opacity: 0.15, hoverinfo: "skip" })];
    /* Colors alternate in small batches, and the lines of a batch are translucent as one. */
    const models = [...active];
    const batch = Math.max(10, Math.ceil(models.length / 20));
    const opacity = models.length > 300 ? 0.35 : 0.7;
    for (let start = 0; start < models.length; start += batch)
      for (const { color, models: some } of colorGroups(models.slice(start, start + batch))) traces.push(lines(some, { color, width: 1.2 }, { opacity }));
    if (state.current !== null) traces.push(lines([state.current], { color: css("ink"), width: 3.5 }, { hoverinfo: "skip" }));
    const shapes = axes.map((_, k) => ({ type: "line", x0: k, x1: k, y0: 0, y1: 1, line: { color: css("soft"), width: 1 } }));
    axes.forEach((name, k) => {
      const filter = state.filters.get(name);
      if (!filter || filter.levels) return;
      const { low, high, log } = column(name);
      const at = (v) => Math.min(1, Math.max(0, log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low)));
      shapes.push({ type: "rect", x0: k - 0.07, x1: k + 0.07, y0: at(filter.low), y1: at(filter.high), fillcolor: css("accent"), opacity: 0.35, line: { width: 0 } });
    });
    const note = (more) => ({ showarrow: false, xref: "x", yref: "y", ...more });
    const annotations = axes.flatMap((name, k) => [
      note({ x: k, y: 1.11, yanchor: "bottom", text: `<b>${shortLabel(name)}</b>` }),
      ...axisTicks(name).map(({ t, text }) => note({ x: k, y: t, xanchor: "left", xshift: 3, text: escape(text), bgcolor: css("veil"), borderpad: 1, font: { size: 11, color: css("ink") } })),
    ]);
    const hidden = (range) => ({ visible: false, fixedrange: true, range });
    part("parallel").style.minWidth = `${AXIS_WIDTH * axes.length}px`;
    return Plotly.react(part("parallel"), traces, layout({
      shapes, annotations, xaxis: hidden([-0.3, axes.length - 0.3]), yaxis: hidden([-0.05, 1.32]), margin: { l: 0, r: 0, t: 0, b: 0 }, dragmode: touch && state.drag === "scroll" ? false : "select",
    }), CONFIG);
  }

  function brush(range) {
    const [left, right] = [...range.x].sort((a, b) => a - b);
    const [bottom, top] = [...range.y].sort((a, b) => a - b);
    const nearest = Math.round((left + right) / 2);
    state.axes.forEach((name, k) => {
      if (!(left <= k && k <= right) && k !== nearest) return;
      const { levels, values } = column(name);
      const inside = ids.filter((i) => position(name, i) >= bottom && position(name, i) <= top);
      if (levels) state.filters.set(name, { levels: new Set(inside.map((i) => values[i])) });
      else state.filters.set(name, { low: valueAt(name, Math.max(0, bottom)), high: valueAt(name, Math.min(1, top)) });
    });
    showFilters();
    draw();
  }

  /* ---- filters ---- */

  function showFilters() {
    const boxes = (name) => {
      const { levels } = column(name);
      const filter = state.filters.get(name);
      return levels.map((text, k) => {
        const box = make("input", { type: "checkbox", checked: !filter || filter.levels.has(k) });
        box.onchange = () => {
          const chosen = state.filters.get(name)?.levels ?? new Set(levels.keys());
          box.checked ? chosen.add(k) : chosen.delete(k);
          chosen.size === levels.length ? state.filters.delete(name) : state.filters.set(name, { levels: chosen });
          draw();
        };
        const swatch = make("span", { className: "explore-swatch" });
        if (name === state.color) swatch.style.background = levelColor(name, k);
        return make("label", {}, box, swatch, ` ${text}`);
      });
    };
    const range = (name) => {
      const filter = state.filters.get(name);
      const field = (end) => {
        const input = make("input", { type: "text", inputMode: "decimal", size: 8, value: Number(filter[end].toPrecision(4)) });
        input.setAttribute("aria-label", `${end === "low" ? "Minimum" : "Maximum"} of ${label(name)}`);
        input.onchange = () => {
          const number = Number(input.value || NaN);
          input.setAttribute("aria-invalid", Number.isNaN(number));
          if (Number.isNaN(number)) return;
          filter[end] = number;
          draw();
        };
        return input;
      };
      return [field("low"), " to ", field("high")];
    };
    const group = (name) => {
      const remove = () => { state.filters.delete(name); state.opened.delete(name); showFilters(); draw(); };
      const always = name === state.color && column(name).levels;
      return make("fieldset", {}, make("legend", {}, label(name)), ...(column(name).levels ? boxes(name) : range(name)),
        ...(always ? [] : [button("×", remove, `Remove the filter of ${label(name)}`)]));
    };
    const shown = new Set([...(column(state.color).levels ? [state.color] : []), ...state.opened, ...state.filters.keys()]);
    const add = make("select", {}, make("option", { value: "" }, "Add filter…"), ...Object.keys(data.columns).filter((name) => !shown.has(name)).map((name) => make("option", { value: name }, label(name))));
    add.setAttribute("aria-label", "Add filter");
    add.onchange = () => {
      const { levels, low, high } = column(add.value);
      levels ? state.opened.add(add.value) : state.filters.set(add.value, { low, high });
      showFilters();
      draw();
    };
    part("filters").replaceChildren(...[...shown].map(group), add);
  }

  /* ---- selection and model card ---- */

  function showStatus(active) {
    const weight = (i) => data.weights[i] ?? 1;
    const sum = (models, of) => models.reduce((total, i) => total + weight(i) * of(i), 0);
    const models = [...active];
    const finished = models.filter((i) => !data.failed[i]);
    const estimated = data.weights.length > 0;
    const count = Math.round(sum(models, () => 1)), failed = Math.round(sum(models, (i) => data.failed[i]));
    const mean = sum(finished, (i) => value(data.error, i)) / sum(finished, () => 1);
    part("status").textContent = `${estimated ? "About " : ""}${count.toLocaleString("en")} of ${data.total.toLocaleString("en")} models selected`
      + (failed ? `, ${failed.toLocaleString("en")} failed` : "") + (finished.length ? `, mean error ${mean.toFixed(2)} %.` : ".");
    part("clear").disabled = models.length === ids.length;
    const best = finished.sort((a, b) => value(data.error, a) - value(data.error, b)).slice(0, 10);
    const names = [...new Set([data.error, ...state.axes])];
    part("best").replaceChildren(...table(["model", "space", ...names.map(label)], best.map((i) =>
      [button(data.models[i].name, () => open(i, true)), data.models[i].space, ...names.map((name) => format(value(name, i)))])));
  }

  function open(i, focus = false) {
    state.current = i;
    const model = data.models[i];
    const facts = Object.keys(data.columns).filter((name) => value(name, i) !== null).flatMap((name) => [make("dt", {}, label(name)), make("dd", {}, format(value(name, i)))]);
    const card = [make("h3", {}, model.name), make("dl", {}, make("dt", {}, "spec_id"), make("dd", {}, model.id), ...facts)];
    if (model.failure) card.push(make("p", { className: "explore-failure" }, `Failed: ${model.failure}`));
    const plots = [];
    const plot = (title, trace, x, y) => {
      const area = make("div", { className: "explore-small" });
      card.push(make("h4", {}, title), area);
      plots.push([area, [{ type: "scatter", hoverinfo: "x+y", ...trace, line: { color: css("accent"), ...trace.line } }],
        layout({ dragmode: false, margin: { l: 8, r: 8, t: 8, b: 8 }, xaxis: gridAxis({ title: { text: x }, fixedrange: true, tickformat: "d", nticks: 6 }), yaxis: gridAxis({ title: { text: y }, fixedrange: true, nticks: 5, rangemode: "tozero" }) })]);
    };
    if (model.widths) {
      const widths = model.widths.flatMap(([width, run]) => Array(run).fill(width));
      plot("Width profile", { x: widths.map((_, k) => k + 1), y: widths, mode: "lines+markers", line: { shape: "hvh" } }, "block", "width (channels)");
    }
    if (model.curve) plot("Learning curve", { x: model.curve.map((_, k) => k + 1), y: model.curve, mode: "lines+markers" }, "epoch", "validation error (%)");
    const stages = model.spec?.stages;
    if (Array.isArray(stages) && stages.length) {
      const keys = [...new Set(stages.flatMap(Object.keys))];
      card.push(make("h4", {}, "Stages"), make("div", { className: "explore-scroll" }, make("table", {}, ...table(["stage", ...keys.map((key) => key.replace(/_/g, " "))],
        stages.map((stage, k) => [String(k + 1), ...keys.map((key) => (typeof stage[key] === "number" ? format(stage[key]) : String(stage[key] ?? "–")))])))));
    }
    if (model.spec) {
      const text = yaml(model.spec);
      card.push(make("p", { className: "explore-row" }, button("Copy YAML", () => copy(text, "YAML")), button("Download YAML", () => download(`${model.id}.yaml`, text)),
        button("Copy export command", () => copy(model.export, "export command"))), make("pre", {}, model.export), make("details", {}, make("summary", {}, "YAML"), make("pre", {}, text)));
    } else card.push(make("p", { className: "explore-note" }, "The table has no spec of this model."));
    part("card").replaceChildren(...card);
    for (const [area, traces, look] of plots) Plotly.newPlot(area, traces, look, CONFIG);
    if (focus) part("card").focus();
    draw();
  }

  function step(event) {
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!direction) return;
    event.preventDefault();
    const at = (i) => coordinate(state.x, state.logX, i);
    const order = ids.filter((i) => passes(i) && at(i) !== null && coordinate(state.y, state.logY, i) !== null).sort((a, b) => (at(a) > at(b)) - (at(a) < at(b)) || a - b);
    const next = order.indexOf(state.current) + direction;
    if (order.length) open(order[(next + order.length) % order.length]);
  }

  function draw() {
    const active = new Set(ids.filter(passes));
    showStatus(active);
    return Promise.all([drawScatter(active), drawParallel(active)]);
  }

  /* ---- controls ---- */

  function connect() {
    const names = Object.keys(data.columns);
    for (const key of ["x", "y", "color"]) {
      part(key).append(...names.filter((name) => key === "color" || !column(name).levels).map((name) => make("option", { value: name }, label(name))));
      part(key).value = state[key];
      part(key).onchange = () => { state[key] = part(key).value; setLog(); showFilters(); draw(); };
    }
    const setLog = () => [["x", "logX"], ["y", "logY"]].forEach(([axis, log]) => {
      const { positive, log: wide } = column(state[axis]);
      if (part(log).dataset.column !== state[axis]) state[log] = wide && state[axis] !== data.error;
      part(log).dataset.column = state[axis];
      Object.assign(part(log), { checked: state[log], disabled: !positive });
      part(log).onchange = () => { state[log] = part(log).checked; draw(); };
    });
    setLog();
    for (const [mode, text] of Object.entries(DRAG).filter(([name]) => touch || name !== "scroll")) {
      const radio = make("input", { type: "radio", name: "explore-drag", value: mode, checked: mode === state.drag });
      radio.onchange = () => { state.drag = mode; draw(); };
      part("drag").append(make("label", {}, radio, text));
    }
    part("axes").append(...data.axes.map((name) => {
      const box = make("input", { type: "checkbox", checked: state.axes.includes(name) });
      box.onchange = () => { state.axes = data.axes.filter((other) => (other === name ? box.checked : state.axes.includes(other))); draw(); };
      return make("label", {}, box, label(name));
    }));
    const zoomOut = { "xaxis.autorange": true, "yaxis.autorange": true };
    part("reset").onclick = () => Plotly.relayout(part("scatter"), zoomOut);
    part("clear").onclick = () => { state.filters.clear(); state.picked = null; showFilters(); draw(); };
    const selected = () => ids.filter(passes);
    part("ids").onclick = () => copy(selected().map((i) => data.models[i].id).join("\n"), `${selected().length} spec_ids`);
    const cell = (v) => (/[",\n\r]/.test(v ?? "") ? `"${v.replace(/"/g, '""')}"` : v ?? "");
    part("csv").onclick = () => download("models.csv", [["spec_id", ...names], ...selected().map((i) => [data.models[i].id, ...names.map((name) => value(name, i))])].map((row) => row.map(cell).join(",")).join("\n"));
    part("svg").onclick = () => Plotly.downloadImage(part("scatter"), { format: "svg", filename: "scatter" });
    part("scatter").addEventListener("keydown", step);
    showFilters();
  }

  /* Plotly adds `on` to an element when it draws the first plot. */
  function listen() {
    for (const name of ["scatter", "parallel"]) part(name).on("plotly_click", ({ points }) => open(points[0].customdata));
    part("scatter").on("plotly_selected", (event) => {
      if (!event?.points?.length) return;
      state.picked = new Set(event.points.map((point) => point.customdata));
      draw();
    });
    part("scatter").on("plotly_deselect", () => { state.picked = null; draw(); });
    part("parallel").on("plotly_selected", (event) => event?.range && brush(event.range));
    part("parallel").on("plotly_deselect", () => part("clear").click());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (state.current === null ? draw() : open(state.current)));
  }

  async function start() {
    const [library, payload] = await Promise.all([inflate("explore-library"), inflate("explore-data")]);
    document.head.append(make("script", { textContent: library }));
    data = JSON.parse(payload);
    ids = data.models.map((_, i) => i);
    Object.values(data.columns).filter((col) => !col.levels).forEach(addRange);
    const color = Object.keys(data.columns).find((name) => column(name).levels) ?? data.error;
    state = { x: data.x, y: data.error, logX: false, logY: false, color, drag: touch ? "scroll" : "zoom", filters: new Map(), opened: new Set(), picked: null, current: null,
      axes: data.axes.length <= 12 ? data.axes : [...data.axes.slice(0, 11), data.error] };
    part("loading").hidden = true;
    part("view").hidden = false;
    part("card").append(make("p", { className: "explore-note" }, "No model selected."));
    connect();
    await draw();
    listen();
    root.dataset.ready = "true";
  }

  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    start().catch((error) => { part("loading").textContent = `The explorer did not start: ${error.message}. It needs a browser from 2023 or later.`; throw error; });
  }, { rootMargin: "600px" }).observe(root);
})();
