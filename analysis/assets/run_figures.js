// Figures of the Runs tab, drawn from the rows of the table that pass its search and filters.
const PARALLEL = ["architecture", "budget", "n_rec", "d_m", "k_e", "k_c", "l_mlp", "rho_rec", "tau_m_max", "learning_rate"];
const MOST_AXES = 9, MOST_LINES = 3000, MOST_LANES = 60, LEVELS = 8;
const DESIGN_POINT = ["task", "architecture", "budget", "n_rec", "d_m", "d_tree", "d_branch", "l_mlp", "rho_rec", "tau_m_max", "steps", "batch_size", "length"];

function showRunFigures(rows) {
  showParallel(rows);
  showRates(rows);
  showTimeline(rows);
}

function plain(names, x, y, more = {}) {
  const line = {gridcolor: names.grid, zeroline: false, linecolor: names.line, tickfont: {size: 12, color: names.ink}, title: {font: {size: 13}}};
  return {
    ...resolve(page.curve_layout, names), margin: {l: 62, r: 16, t: 10, b: 46}, hovermode: "closest",
    xaxis: {...line, automargin: true, ...x, title: {...line.title, text: x.title}}, yaxis: {...line, automargin: true, ...y, title: {...line.title, text: y.title}}, ...more,
  };
}

function paintFigure(id, data, layout, filename) {
  const node = $(id);
  Plotly.react(node, data, layout, {...page.config, toImageButtonOptions: {filename}});
  // While its tab is not open a figure has no size, so it cannot follow the window; it catches up when it is shown.
  if (node.clientWidth && node._fullLayout.width !== node.clientWidth) Plotly.Plots.resize(node);
  if (node.dataset.wired) return node;
  node.dataset.wired = "1";
  node.on("plotly_click", event => { const id = event.points[0].customdata; if (id) openTrial(id); });
  return node;
}

// -- Parallel coordinates ------------------------------------------------------------------------------------------

function axesNow() {
  const wanted = state.parallel || [...PARALLEL.filter(name => table.named.has(name) && table.named.get(name).varies).slice(0, MOST_AXES - 1), table.metric];
  return wanted.map(name => table.named.get(name)).filter(Boolean);
}

// One axis: where a value lies between 0 and 1, what value lies at a height, and its labels.
function scaleOf(column, rows) {
  const values = rows.map(column.at).filter(value => value !== null && value !== undefined);
  if (column.kind === "text") {
    // Words have no distances, so they are spread evenly.
    const words = [...new Set(values)].sort(), rank = new Map(words.map((word, i) => [word, words.length < 2 ? 0.5 : i / (words.length - 1)]));
    return {at: value => rank.get(value), ticks: words.map(word => [rank.get(word), word]), inside: (low, high) => words.filter(word => rank.get(word) >= low && rank.get(word) <= high).map(word => `=${word}`).join(", ")};
  }
  let low = Infinity, high = -Infinity;
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  // Settings are varied by factors; below one of eight both scales look alike, and plain numbers are easier to read.
  const log = low > 0 && high / low >= 8, from = log ? Math.log10(low) : low, span = (log ? Math.log10(high) : high) - from || 1;
  const back = share => log ? 10 ** (from + share * span) : from + share * span;
  const few = [...new Set(values)].sort((a, b) => a - b), at = value => low === high ? 0.5 : ((log ? Math.log10(value) : value) - from) / span;
  // A setting with few values gets them as labels, so that a line can be followed to the very value.
  const marks = few.length <= 6 ? few : [0, 0.25, 0.5, 0.75, 1].map(back);
  const label = value => column.kind === "time" ? new Date(value).toISOString().slice(5, 16).replace("T", " ") : short(value);
  // An end that the box goes beyond stays open: the filter then also takes values that come later.
  const edge = share => share <= 0 ? "" : share >= 1 ? "" : column.kind === "time" ? new Date(back(share)).toISOString().slice(0, 19) : String(Number(back(share).toPrecision(4)));
  return {at, ticks: legible(marks.map(value => [at(value), label(value)])), inside: (a, b) => `${edge(a)}..${edge(b)}`};
}

// Labels nearer than a text line are left out, so that none is printed over another.
function legible(ticks) {
  const kept = [];
  for (const tick of ticks) if (!kept.length || Math.abs(tick[0] - kept[kept.length - 1][0]) > 0.06) kept.push(tick);
  return kept;
}

function showParallel(rows) {
  const names = tokens(), axes = axesNow(), drawn = sample(rows, MOST_LINES), scales = axes.map(column => scaleOf(column, rows));
  const metric = table.named.get(table.metric), level = levelOf(drawn, metric);
  const traces = Array.from({length: LEVELS}, (_, k) => ({type: "scatter", mode: "lines", x: [], y: [], hoverinfo: "skip", opacity: drawn.length > 300 ? 0.35 : 0.6,
    line: {width: 1.2, color: names.level[k % names.level.length]}}));
  for (const row of drawn) {
    const trace = traces[level(row)];
    axes.forEach((column, k) => { const y = scales[k].at(column.at(row)); trace.x.push(k); trace.y.push(y === undefined || Number.isNaN(y) ? null : y); });
    trace.x.push(null);
    trace.y.push(null);
  }
  // Boxes are dragged over points; these lie on the axes and are not seen.
  traces.push({type: "scatter", mode: "markers", x: axes.map((_, k) => k), y: axes.map(() => 0.5), marker: {opacity: 0, size: 1}, hoverinfo: "skip"});
  const ticks = axes.flatMap((column, k) => scales[k].ticks.map(([y, text]) => ({x: k, y, text: text.length > 14 ? `${text.slice(0, 13)}…` : text,
    showarrow: false, xanchor: k === axes.length - 1 ? "right" : "left", xshift: k === axes.length - 1 ? -5 : 5, font: {size: 12, color: names.ink}, bgcolor: names.card, borderpad: 1})));
  const titles = axes.map((column, k) => ({x: k, y: 1.07, text: escaped(titleOf(column.name)), showarrow: false, textangle: axes.length > 5 && $("parallel").clientWidth < 110 * axes.length ? -18 : 0,
    xanchor: k === 0 ? "left" : k === axes.length - 1 ? "right" : "center", font: {size: 12.5, color: names.ink}}));
  const shapes = axes.map((_, k) => ({type: "line", x0: k, x1: k, y0: 0, y1: 1, line: {color: names.muted, width: 1}, layer: "above"}));
  const layout = plain(names, {range: [-0.06, axes.length - 0.94], visible: false, fixedrange: true}, {range: [-0.04, 1.16], visible: false, fixedrange: true},
    {annotations: [...ticks, ...titles], shapes, dragmode: "select", margin: {l: 14, r: 14, t: 8, b: 8}, selections: []});
  $("parallel").style.minWidth = `${75 * axes.length}px`;  // on a phone it scrolls: squeezed axes cannot be read
  const node = $("parallel"), first = !node.dataset.wired;
  paintFigure("parallel", traces, layout, "parallel");
  if (first) node.on("plotly_selected", event => brushed(event));
  const part = drawn.length < rows.length ? `${drawn.length.toLocaleString("en-US")} of ${rows.length.toLocaleString("en-US")} trials` : `${rows.length.toLocaleString("en-US")} trials`;
  $("parallel-caption").textContent = `${part}, one line each; colour = ${titleOf(table.metric)}. Drag a box over an axis to filter by it.`;
  const usable = table.columns.filter(column => column.varies && column.name !== "trial_id" && column.name !== "reason").map(column => column.name);
  tickList($("parallel-axes"), usable, axes.map(column => column.name), PARALLEL.filter(name => usable.includes(name)).concat(table.metric),
    chosen => { state.parallel = chosen; showTrials(); writeHash(); });
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

// Colour by eighths of the rows and not of the metric's range: one run that failed badly would leave all others in one
// colour.
function levelOf(rows, metric) {
  const known = rows.map(metric.at).filter(value => value !== null).sort((a, b) => a - b);
  const bounds = Array.from({length: LEVELS - 1}, (_, k) => known[Math.floor((k + 1) * known.length / LEVELS)]);
  return row => { const value = metric.at(row), k = value === null ? 0 : bounds.findIndex(bound => value < bound); return k < 0 ? LEVELS - 1 : k; };
}

// A box over one or several axes becomes filters of the table, where it can be read, changed and taken away.
function brushed(event) {
  if (!event || !event.range) return;
  const [x0, x1] = [...event.range.x].sort((a, b) => a - b), [low, high] = [...event.range.y].sort((a, b) => a - b);
  const rows = tableRows(candidates());
  axesNow().forEach((column, k) => {
    if (k < x0 || k > x1) return;
    const text = scaleOf(column, rows).inside(Math.max(low, 0), Math.min(high, 1));
    if (text && text !== "..") state.table.filters[column.name] = text;
  });
  showTrials();
  writeHash();
}

// -- Learning rates ------------------------------------------------------------------------------------------------

// Metric against learning rate: one line per design point that was run at several rates, through the mean over seeds.
function rateLines(rows) {
  const metric = table.named.get(table.metric), rate = table.named.get("learning_rate"), points = new Map();
  const keys = DESIGN_POINT.map(name => table.named.get(name)).filter(Boolean);
  for (const row of rows) {
    const value = metric.at(row);
    if (value === null) continue;
    const key = keys.map(column => column.at(row)).join("|");
    if (!points.has(key)) points.set(key, {row, rates: new Map()});
    const rates = points.get(key).rates, at = rate.at(row);
    if (!rates.has(at)) rates.set(at, []);
    rates.get(at).push(value);
  }
  return [...points.values()].filter(point => point.rates.size > 1).map(({row, rates}) => {
    const x = [...rates.keys()].sort((a, b) => a - b);
    return {row, x, y: x.map(at => rates.get(at).reduce((sum, value) => sum + value, 0) / rates.get(at).length), runs: x.map(at => rates.get(at).length)};
  });
}

function showRates(rows) {
  const kind = table.named.get("metric"), wanted = group() ? group().task_metric : null;
  // Trials of another metric have no place on this axis.
  const same = rows.filter(row => wanted === null || kind.at(row) === wanted), lines = rateLines(same), names = tokens();
  const card = $("rates");
  $("rates-caption").textContent = lines.length
    ? `${lines.length} design points with several rates, mean over seeds; ○ = best rate of each${same.length < rows.length ? `; only trials measured in ${wanted}` : ""}`
    : "No design point among these trials was run at several learning rates: give the grid a list of rates.";
  card.hidden = lines.length === 0;
  if (!lines.length) return;
  const budgets = [...new Set(lines.map(line => table.named.get("budget").at(line.row)))].sort((a, b) => a - b);
  const colour = row => names.level[Math.round(budgets.indexOf(table.named.get("budget").at(row)) * (names.level.length - 1) / Math.max(budgets.length - 1, 1))];
  const down = !group() || group().direction === "min";
  const data = lines.map(line => {
    const about = ["architecture", "budget", "n_rec", "d_m"].map(name => `${titleOf(name)} ${digits(table.named.get(name).at(line.row))}`).join(", ");
    const best = line.y.indexOf(down ? Math.min(...line.y) : Math.max(...line.y));
    return {type: "scatter", mode: "lines+markers", x: line.x, y: line.y, showlegend: false, line: {width: 1.4, color: colour(line.row)}, opacity: 0.85,
      marker: {size: line.x.map((_, i) => i === best ? 10 : 4), symbol: line.x.map((_, i) => i === best ? "circle-open" : "circle"), color: colour(line.row), line: {width: 2}},
      text: line.runs.map(count => `${escaped(about)}<br>${count} run${count > 1 ? "s" : ""}`), hovertemplate: "%{text}<br>rate %{x:.3~g}: %{y:.4~g}<extra></extra>"};
  });
  paintFigure("rates", data, plain(names, {type: "log", title: "learning rate", ...logTicks(lines.flatMap(line => line.x))}, {title: titleOf(table.metric)}), "learning-rates");
}

// -- Lanes ---------------------------------------------------------------------------------------------------------

function showTimeline(rows) {
  const at = Object.fromEntries(["host", "lane", "started_at", "ended_at", "status"].map(name => [name, table.named.get(name).at])), names = tokens();
  const lanes = new Map();
  for (const row of rows) {
    if (at.started_at(row) === null || at.ended_at(row) === null) continue;
    const lane = `${at.host(row)} · ${at.lane(row)}`;
    if (!lanes.has(lane)) lanes.set(lane, []);
    lanes.get(lane).push(row);
  }
  // By their first trial, so that lanes that joined later stand below.
  const order = [...lanes.keys()].sort((a, b) => Math.min(...lanes.get(a).map(at.started_at)) - Math.min(...lanes.get(b).map(at.started_at)));
  const shown = order.slice(0, MOST_LANES), traces = new Map();
  const colours = {finished: names.accent, diverged: names.warn, failed: names.bad, out_of_memory: names.theory};
  shown.forEach((lane, k) => {
    for (const row of lanes.get(lane)) {
      const status = at.status(row);
      if (!traces.has(status)) traces.set(status, {type: "scatter", mode: "lines+markers", name: status.replaceAll("_", " "), x: [], y: [], text: [], customdata: [], line: {width: 7, color: colours[status] || names.muted}, marker: {size: 2, color: names.card}, hovertemplate: "%{text}<extra></extra>"});
      const trace = traces.get(status), about = `${table.ids[row]} on ${escaped(lane)}<br>${written(table.named.get("started_at"), row)} to ${written(table.named.get("ended_at"), row).slice(11)}`;
      trace.x.push(new Date(at.started_at(row)).toISOString(), new Date(at.ended_at(row)).toISOString(), null);
      trace.y.push(k, k, null);
      trace.text.push(about, about, "");
      trace.customdata.push(table.ids[row], table.ids[row], null);
    }
  });
  $("timeline").hidden = shown.length === 0;
  $("timeline-caption").textContent = !shown.length ? "No times were recorded for these trials."
    : `start to end of each trial (UTC), one line per lane${order.length > shown.length ? `; the first ${shown.length} of ${order.length} lanes` : ""}; click one to open it`;
  if (!shown.length) return;
  $("timeline").style.height = `${Math.max(180, 70 + 17 * shown.length)}px`;
  const label = lane => lane.length > 26 ? `…${lane.slice(-25)}` : lane;
  paintFigure("timeline", [...traces.values()], plain(names, {type: "date", nticks: 5}, {tickmode: "array", tickvals: shown.map((_, k) => k), ticktext: shown.map(lane => escaped(label(lane))), autorange: "reversed"},
    {showlegend: traces.size > 1, legend: {orientation: "h", y: 1.12}}), "timeline");
}
