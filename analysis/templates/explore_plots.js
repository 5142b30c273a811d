/* The two plots of the explorer, drawn by Plotly. */

/* ---- shared ---- */

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

const levelColor = (name, level) => readable(column(name).colors?.[level] ?? PALETTE[level % PALETTE.length]);

/* A function from a model to the color of its category, or of its step on the color scale. */
function modelColors() {
  const { levels, values } = column(state.color);
  const colors = levels ? levels.map((_, level) => levelColor(state.color, level)) : scale();
  const missing = css("soft");
  const step = (v) => (levels ? v : Math.min(colors.length - 1, Math.floor(scaled(state.color, v) * colors.length)));
  return (i) => (values[i] === null ? missing : colors[step(values[i])]);
}

/* A fixed order that mixes the spaces, so that none covers all others. */
const mixed = (models) => [...models].sort((a, b) => ((a * 7919) % 104729) - ((b * 7919) % 104729));

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
  return [data.models[i].name, data.models[i].space ?? "", ...facts].filter(Boolean).map(escape).join("<br>");
}

/* ---- scatter plot ---- */

function points(models, marker) {
  return {
    type: "scatter", mode: "markers", customdata: models, hoverinfo: "text", text: models.map(hoverText),
    x: models.map((i) => coordinate("x", i)), y: models.map((i) => coordinate("y", i)), selectedpoints: null,
    marker: { size: ids.length > 500 ? 6 : 9, symbol: models.map((i) => (data.failed[i] ? "x" : "circle")), ...marker },
  };
}

/* A trace without points, for its color bar. */
function colorbar() {
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const bar = {
    orientation: "h", y: 1.01, yanchor: "bottom", thickness: 8, outlinewidth: 0,
    title: { text: escape(label(state.color)), side: "top" },
    tickvals: ticks, ticktext: ticks.map((t) => format(valueAt(state.color, t))),
  };
  const colorscale = scale().flatMap((color, k, { length }) => [[k / length, color], [(k + 1) / length, color]]);
  const marker = { color: [0], colorscale, cmin: 0, cmax: 1, colorbar: bar };
  return { type: "scatter", mode: "markers", x: [null], y: [null], marker };
}

/* A frame around the model of the card. Plotly wants logarithms in annotations. */
function scatterFrame() {
  const [x, y] = ["x", "y"].map((axis) => [coordinate(axis, state.current), state[axis].log])
    .map(([v, log]) => (log && v !== null ? Math.log10(v) : v));
  const box = { width: 14, height: 14, bordercolor: css("ink"), borderwidth: 2, showarrow: false, text: "" };
  return x === null || y === null ? [] : [{ x, y, ...box }];
}

function describeMissing(axis) {
  const { name } = state[axis];
  const count = ids.filter((i) => coordinate(axis, i) === null).length;
  const failures = name === data.error && data.failed.includes(1);
  return (failures ? "Crosses at the margin are failed models. " : "")
    + (count ? `${count} models without a value of ${label(name)} are not drawn.` : "");
}

function drawScatter(selected) {
  const { levels } = column(state.color);
  const models = mixed(selected);
  const traces = [
    points(ids.filter((i) => !selected.has(i)), { color: css("soft"), opacity: 0.15 }),
    points(models, { color: models.map(modelColors()), opacity: 0.8 }),
    ...(levels ? [] : [colorbar()]),
  ];
  const axis = ({ name, log }) => axisStyle(label(name), {
    type: log ? "log" : "linear", ...(log && { tickformat: "~s", nticks: 5 }),
    uirevision: `${name} ${log}`, // keep the zoom until the axis changes
  });
  part("missing").textContent = [...new Set(["x", "y"].map(describeMissing))].join(" ");
  return Plotly.react(part("scatter"), traces, layout({
    xaxis: axis(state.x), yaxis: axis(state.y), annotations: scatterFrame(),
    margin: { l: 12, r: 12, t: levels ? 32 : 84, b: 12 },
    dragmode: touch ? false : "zoom", uirevision: "drag",
  }), config("zoom2d", "pan2d", "select2d", "lasso2d", "resetScale2d", "toImage"));
}

/* ---- parallel coordinates ---- */

function lines(models, line, more) {
  const repeated = (of) => models.flatMap((i) => [...Array(data.axes.length).fill(of(i)), null]); // null ends a line
  return {
    type: "scatter", mode: "lines", line,
    hoverinfo: "text", text: repeated(hoverText), customdata: repeated((i) => i),
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

function parallelLabels() {
  const note = (x, y, text, more) => ({ x, y, text, showarrow: false, ...more });
  const tick = { xanchor: "left", xshift: 3, bgcolor: css("veil") };
  const title = (name) => `<b>${escape(shortLabel(name)).replace(/(.{5,}?) |(.{8,}?)_/g, "$1$2<br>")}</b>`;
  return data.axes.flatMap((name, k) => [
    note(k, 1.1, title(name), { yanchor: "bottom" }),
    ...ticks(name).map(([v, text]) => note(k, scaled(name, v), escape(text), tick)),
  ]);
}

/* The axes, the brushes, and the line of the model of the card. */
function parallelShapes() {
  const thin = { color: css("soft"), width: 1 };
  const axes = data.axes.map((_, k) => ({ type: "line", x0: k, x1: k, y0: 0, y1: 1, line: thin }));
  const brushes = data.axes.flatMap((name, k) => {
    const filter = state.filters.get(name);
    if (!filter || filter.levels) return [];
    const [y0, y1] = [filter.low, filter.high].map((v) => Math.min(1, Math.max(0, scaled(name, v) || 0)));
    const style = { fillcolor: css("accent"), opacity: 0.35, line: { width: 0 } };
    return [{ type: "rect", x0: k - 0.07, x1: k + 0.07, y0, y1, ...style }];
  });
  const corners = data.axes.map((name, k) => [k, position(name, state.current)]).filter(([, y]) => y !== null);
  // A model without a value on an axis has a gap there.
  const step = ([k, y], i) => `${i && corners[i - 1][0] === k - 1 ? "L" : "M"}${k},${y}`;
  const path = corners.map(step).join("");
  return [...axes, ...brushes, { type: "path", path, line: { color: css("ink"), width: 3 } }];
}

function drawParallel(selected) {
  const grey = { color: css("soft"), width: 0.5 };
  const others = lines(ids.filter((i) => !selected.has(i)), grey, { hoverinfo: "skip", opacity: 0.2 });
  /* Plotly draws all lines of a trace at once: a trace for each color in each twentieth of the models. */
  const [models, color, traces] = [mixed(selected), modelColors(), new Map()];
  models.forEach((i, k) => {
    const key = `${Math.floor((20 * k) / models.length)} ${color(i)}`;
    traces.set(key, [...(traces.get(key) ?? []), i]);
  });
  const opacity = Math.max(0.15, Math.min(0.7, 100 / models.length));
  const colored = [...traces.values()].map((some) => lines(some, { color: color(some[0]), width: 1.2 }, { opacity }));
  const hidden = (range) => ({ visible: false, fixedrange: true, range });
  part("parallel").style.minWidth = `${AXIS_WIDTH * data.axes.length}px`;
  return Plotly.react(part("parallel"), [others, ...colored], layout({
    shapes: parallelShapes(), annotations: parallelLabels(), margin: { l: 0, r: 0, t: 28, b: 0 },
    xaxis: hidden([-0.4, data.axes.length - 0.3]), yaxis: hidden([-0.05, 1.25]),
    dragmode: touch ? false : "select", selectdirection: "d", uirevision: "drag",
  }), config("select2d", "toImage"));
}

function brush({ x, y }) {
  const [left, right, bottom, top] = [Math.min(...x), Math.max(...x), Math.min(...y), Math.max(...y)];
  data.axes.forEach((name, k) => {
    if ((k < left || k > right) && k !== Math.round((left + right) / 2)) return;
    const { levels } = column(name);
    const isInside = (level) => scaled(name, level) >= bottom && scaled(name, level) <= top;
    const range = () => ({ low: valueAt(name, bottom), high: valueAt(name, top) });
    state.filters.set(name, levels ? { levels: new Set([...levels.keys()].filter(isInside)) } : range());
  });
  draw();
}
