// Draws the panels of the open tab. Python made the figures; here they are filtered, coloured, linked.
const drawn = new Map();  // panel id -> {panel, node, choice, points: trial indices of its point trace}

function visible(meta) {
  if (!meta) return true;
  if (meta.budget !== undefined && meta.budget !== null && state.off.has(meta.budget)) return false;
  if (meta.k_c !== undefined && meta.k_c !== null && state.kc !== null && meta.k_c !== state.kc) return false;
  return !(meta.kind === "theory" && !state.theory);
}

function labelled(annotation) {
  const [kind, budget, kc] = (annotation.name || "").split("|");
  // Python writes None and nan into names of labels; both mean that no filter applies.
  const number = text => Number.isNaN(Number(text)) ? null : Number(text);
  return kind !== "label" || visible({kind, budget: number(budget), k_c: number(kc)});
}

// Labels above the curve ends need about 46 px each; on a narrow screen every other one has to do.
function thinned(annotations, panel) {
  const node = $(panel.id), room = node ? node.clientWidth - 110 : 400;
  const step = Math.ceil(annotations.filter(a => a.xanchor === "center").length * 46 / Math.max(room, 60));
  return annotations.filter((a, i) => a.xanchor !== "center" || (annotations.length - 1 - i) % step === 0);
}

function pointTrace(choice, shown, names) {
  const g = group(), x = g.column(choice.x), y = g.column(choice.y || "value");
  const marker = {size: 5, opacity: 0.45, color: colours(shown, names)};
  if (state.colour !== "budget") Object.assign(marker, scale(names), {opacity: 0.8});
  return {
    type: "scatter", mode: "markers", x: Float64Array.from(shown, x), y: Float64Array.from(shown, y), marker,
    // The trial under the mouse is described below the page and ringed in every panel; Plotly's own label would hide
    // its neighbours.
    hoverinfo: "none", showlegend: false, meta: {kind: "trials"}, cliponaxis: true,
  };
}

function colours(shown, names) {
  const g = group(), budget = g.column("budget");
  // Plotly has no logarithmic colour axis, so the logarithm is coloured and the bar labelled with its powers.
  if (state.colour !== "budget") return Array.from(shown, g.column(state.colour)).map(Math.log10);
  const rank = new Map(g.budgets.map((b, i) => [b, names.budget[i % names.budget.length]]));
  return shown.map(i => rank.get(budget(i)) || names.point);
}

function scale(names) {
  const values = numbers(group().configurations[state.colour]);
  let low = Infinity, high = -Infinity;
  for (const v of values) if (v > 0) { low = Math.min(low, v); high = Math.max(high, v); }
  // A single value would make a scale of no length.
  const [a, b] = [Math.log10(low), Math.log10(Math.max(high, low * 1.0001))];
  const ticks = [0, 0.5, 1].map(share => a + share * (b - a));
  return {
    colorscale: names.continuous, cmin: a, cmax: b, showscale: true,
    colorbar: {thickness: 9, len: 0.6, x: 1.0, outlinewidth: 0, tickvals: ticks, ticktext: ticks.map(t => short(Math.round(10 ** t))), tickfont: {size: 12}},
  };
}

function figureOf(panel, choice, shown) {
  const names = tokens(), raw = choice.figure;
  const data = raw.data.filter(trace => visible(trace.meta)).map(trace => resolve(trace, names));
  const layout = resolve(raw.layout, names);
  if (layout.annotations) layout.annotations = thinned(layout.annotations.filter(labelled), panel);
  let points = null;
  if (choice.x && choice.points && state.points) {
    points = shown;
    // Below everything else: faint points must not cover means and stars.
    data.unshift(pointTrace(choice, shown, names));
  }
  for (const trace of data) {
    // Selecting makes Plotly fade all points of its own accord. Both states are set alike here, and `fade` does it
    // instead.
    const fade = {marker: {opacity: trace.marker && typeof trace.marker.opacity === "number" ? trace.marker.opacity : 1}};
    if (trace.mode && trace.mode.includes("markers")) Object.assign(trace, {selected: fade, unselected: fade});
  }
  // Panels that are not linked have nothing to select.
  layout.dragmode = choice.x ? (state.view.drag || "select") : "zoom";
  return {data, layout, points};
}

function draw() {
  const g = group(), began = performance.now();
  const passed = passing();
  state.points = state.trials === null ? passed.length <= page.limit : state.trials;
  const shown = state.points ? sample(passed, page.limit) : passed;
  const tab = tabsNow().find(t => t.id === state.tab);
  $("printed").textContent = printedFilters(passed);
  $("chosen").textContent = g ? `Filters · ${chosenFilters(g).join(" · ")}` : "Filters";
  if (tab && $("panels").dataset.key !== `${state.group}/${tab.id}`) build(tab);
  for (const [id, entry] of drawn) {
    if (!entry.panel.choices) continue;
    const choice = entry.panel.choices[entry.choice];
    const {data, layout, points} = figureOf(entry.panel, choice, shown);
    // `react` changes what differs and keeps the zoom; `newPlot` would begin anew each time.
    Plotly.react(entry.node, data, layout, {...page.config, toImageButtonOptions: {filename: id}});
    entry.points = points;
    if (!entry.wired) wire(entry);
  }
  for (const row of $("panels").querySelectorAll("tr[data-kc]"))
    row.hidden = !visible({budget: Number(row.dataset.budget), k_c: Number(row.dataset.kc)});
  notice(passed, shown);
  answer(g);
  fade();
  showTrials();
  writeHash();
  window.__drawn = {ms: performance.now() - began, passed: passed.length, shown: state.points ? shown.length : 0};
}

// The answer stands first; the Runs tab is about the whole sweep and has none.
function answer(g) {
  const lines = g && state.tab !== "runs" ? g.answer : [];
  $("answer").hidden = lines.length === 0;
  $("answer").replaceChildren(...lines.map(line => {
    const at = line.indexOf(": "), row = element("p");
    // Between backticks stands a command.
    const parts = line.slice(at + 1).split("`").map((part, i) => i % 2 ? element("code", {}, part) : part);
    row.append(element("strong", {}, line.slice(0, at + 1)), ...parts);
    return row;
  }));
}

function notice(passed, shown) {
  const all = page.total.toLocaleString("en-US"), g = group();
  $("count").textContent = g && state.tab !== "runs" ? `${passed.length.toLocaleString("en-US")} of ${all} trials` : `${all} trials`;
  const parts = [];
  if (g && !state.points) parts.push(`Means of every trial are drawn; single trials are not, because more than ${page.limit.toLocaleString("en-US")} pass the filters.`);
  if (g && state.points && shown.length < passed.length)
    parts.push(`Showing ${shown.length.toLocaleString("en-US")} of ${passed.length.toLocaleString("en-US")} single trials; all means and fits use every trial.`);
  if (g && g.left_out) parts.push(`This file lists ${g.count.toLocaleString("en-US")} of ${(g.count + g.left_out).toLocaleString("en-US")} trials of the group, drawn at random; all means and fits use every trial.`);
  if (state.view.lostSelection) parts.push("The link's selection was made on other rows and is not shown.");
  for (const text of page.warnings) parts.push(text);
  $("notice").hidden = parts.length === 0;
  $("notice").textContent = parts.join(" ");
}

function build(tab) {
  // Plotly keeps listeners and caches for each plot until it is told that the plot is gone.
  for (const entry of drawn.values()) if (entry.wired) Plotly.purge(entry.node);
  drawn.clear();
  $("panels").replaceChildren(...tab.panels.map(panelNode));
  $("panels").dataset.key = `${state.group}/${tab.id}`;
}

function panelNode(panel) {
  const tools = element("span", {class: "tools"});
  const figure = element("figure", {class: `card ${panel.width}`, role: "group", "aria-labelledby": `${panel.id}-title`});
  const entry = {panel, choice: Math.max(0, (panel.choices || []).findIndex(choice => choice.label === state.axis[panel.id])), node: null, wired: false, points: null, caption: element("p", {class: "caption"}),
    summary: element("p", {class: "summary"}), data: element("div")};
  drawn.set(panel.id, entry);
  figure.append(element("header", {}, element("h2", {id: `${panel.id}-title`}, panel.title), tools), entry.caption);
  const saves = element("span", {class: "tools saves"});
  if (panel.choices) {
    if (panel.choices.length > 1) tools.append(chooser(panel, entry));
    for (const format of ["svg", "png"])
      saves.append(element("button", {type: "button", "aria-label": `${panel.title}: save as ${format.toUpperCase()}`, onclick: () => save(entry, format)}, format.toUpperCase()));
    entry.node = element("div", {class: "plot", id: panel.id});
    figure.append(entry.node);
  }
  figure.append(entry.summary, ...(panel.choices ? [saves] : []), entry.data);
  fill(entry);
  return figure;
}

function fill(entry) {
  const panel = entry.panel;
  entry.caption.replaceChildren(...worded(panel.caption));
  entry.summary.replaceChildren(...worded(panel.summary));
  if (!panel.rows) return entry.data.replaceChildren();
  const table = scrollable(panel, plainTable(panel.columns, panel.rows, panel.keyed)), before = entry.data.querySelector("details");
  entry.data.replaceChildren(panel.choices ? element("details", {class: "data", open: Boolean(before && before.open)}, element("summary", {}, "Show data"), table) : table);
}

function scrollable(panel, table) {
  return element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": `${panel.title}: data`}, table);
}

function plainTable(columns, rows, keyed) {
  const text = columns.map((_, c) => rows.some(row => typeof row[c] === "string" && /[a-z]{3}.* /i.test(row[c])));
  const head = element("tr", {}, ...columns.map((name, c) => element("th", {scope: "col", class: text[c] ? "text" : null}, ...worded(name))));
  const body = rows.map(row => element("tr", keyed ? {"data-budget": row[0], "data-kc": row[1]} : {}, ...row.map((cell, c) =>
    element("td", {class: text[c] ? "text" : null}, ...(typeof cell === "string" ? worded(cell) : [columns[c].includes("±") ? digits(cell, 2) : digits(cell)])))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

function chooser(panel, entry) {
  const select = element("select", {"aria-label": `${panel.title}: axis`, "data-focus": `axis ${panel.id}`, onchange: () => {
      entry.choice = Number(select.value);
      state.axis[panel.id] = panel.choices[entry.choice].label;
      draw();
    }},
    ...panel.choices.map((choice, i) => element("option", {value: i, selected: i === entry.choice}, choice.label)));
  return select;
}

function save(entry, format) {
  const box = entry.node.getBoundingClientRect();
  // As large as on screen, so that what is saved has the proportions that were looked at.
  Plotly.downloadImage(entry.node, {format, filename: entry.panel.id, width: Math.round(box.width), height: Math.round(box.height), scale: format === "png" ? 3 : 1});
}

// Linking: hovering draws rings as plain elements, selecting fades points by their style; neither asks Plotly to redraw.
function wire(entry) {
  entry.wired = true;
  entry.node.on("plotly_hover", event => hover(entry, event.points[0]));
  entry.node.on("plotly_unhover", unhover);
  entry.node.addEventListener("mouseleave", unhover);
  entry.node.addEventListener("mousedown", unhover);
  entry.node.on("plotly_selected", event => boxed(entry, event));
  entry.node.on("plotly_deselect", clearSelection);
  entry.node.on("plotly_click", event => clicked(entry, event.points[0]));
  entry.node.on("plotly_afterplot", fade);
}

function trialsOf(entry, point) {
  if (point.data.meta && point.data.meta.kind === "trials") return {trial: entry.points[point.pointNumber]};
  if (point.customdata !== undefined && entry.panel.choices[entry.choice].x) return {configuration: point.customdata};
  return null;
}

function hover(entry, point) {
  const began = performance.now(), what = trialsOf(entry, point);
  unhover();
  if (!what) return;
  const g = group(), of = what.trial === undefined ? null : what.trial;
  const place = name => of !== null ? g.column(name)(of) : g.configurations[name === "value" ? "mean" : name][what.configuration];
  for (const other of drawn.values()) {
    const choice = other.panel.choices && other.panel.choices[other.choice];
    if (!choice || !choice.x || !other.node || !other.node._fullLayout) continue;
    ring(other.node, place(choice.x), place(choice.y || "value"));
  }
  $("hovered").textContent = of !== null ? trialLine(of) : configurationLine(what.configuration);
  window.__hover = performance.now() - began;
}

// A ring is a plain element: a shape in the plot would cost a redraw, and Plotly 4.1 misplaces shapes sized in pixels
// on logarithmic axes.
function ring(node, x, y) {
  const full = node._fullLayout, left = full.xaxis._offset + full.xaxis.d2p(x), top = full.yaxis._offset + full.yaxis.d2p(y);
  const inside = left >= full.xaxis._offset && left <= full.xaxis._offset + full.xaxis._length;
  if (!inside || !Number.isFinite(left) || !Number.isFinite(top)) return;
  const mark = element("div", {class: "ring"});
  mark.style.left = `${left}px`;
  mark.style.top = `${top}px`;
  node.append(mark);
}

function unhover() {
  for (const mark of document.querySelectorAll(".ring")) mark.remove();
  $("hovered").textContent = "";
}

function boxed(entry, event) {
  if (!event || !(event.range || event.lassoPoints)) return;
  const began = performance.now(), choice = entry.panel.choices[entry.choice];
  if (!choice.x) return;
  const g = group(), x = g.column(choice.x), y = g.column(choice.y || "value"), inside = areaTest(event);
  const candidates = entry.points || passing();
  select(new Set(candidates.filter(i => inside(x(i), y(i)))));
  for (const other of drawn.values())
    // One box at a time: the boxes of other panels would show a selection that no longer holds.
    if (other !== entry && other.node && other.node._fullLayout && other.node._fullLayout.selections.length)
      Plotly.relayout(other.node, {selections: []});
  window.__selected = performance.now() - began;
}

function areaTest(event) {
  if (event.range) {
    const [x0, x1] = [...event.range.x].sort((a, b) => a - b), [y0, y1] = [...event.range.y].sort((a, b) => a - b);
    return (x, y) => x >= x0 && x <= x1 && y >= y0 && y <= y1;
  }
  const {x: px, y: py} = event.lassoPoints;
  return (x, y) => {
    let inside = false;
    for (let i = 0, j = px.length - 1; i < px.length; j = i++)
      // Even-odd rule: a point is inside when a ray from it crosses the outline an odd number of times.
      if ((py[i] > y) !== (py[j] > y) && x < px[i] + (y - py[i]) / (py[j] - py[i]) * (px[j] - px[i])) inside = !inside;
    return inside;
  };
}

function clicked(entry, point) {
  const what = trialsOf(entry, point);
  if (!what) return;
  if (what.trial !== undefined) return open(what.trial);
  const of = group().trials.configuration;
  select(new Set(passing().filter(i => of[i] === what.configuration)));
}

function select(indices) {
  state.selected = indices && indices.size ? indices : null;
  state.opened = null;
  state.view.lostSelection = false;
  fade();
  showTrials();
  writeHash();
}

function clearSelection() {
  for (const entry of drawn.values())
    if (entry.node && entry.node._fullLayout && entry.node._fullLayout.selections.length) Plotly.relayout(entry.node, {selections: []});
  select(null);
}

function fade() {
  const chosen = state.selected, of = group() && group().trials.configuration;
  const configurations = chosen ? new Set([...chosen].map(i => of[i])) : null;
  for (const entry of drawn.values()) {
    if (!entry.node || !entry.node._fullLayout || !entry.panel.choices[entry.choice].x) continue;
    for (const trace of entry.node.querySelectorAll(".scatterlayer .trace")) {
      const bound = trace.__data__ && trace.__data__[0] && trace.__data__[0].trace;
      if (!bound || !bound.meta) continue;
      const kind = bound.meta.kind;
      if (kind !== "trials" && kind !== "mean") continue;
      // The style of each point is set directly: Plotly's restyle takes a tenth of a second or more per panel.
      for (const path of trace.querySelectorAll("path.point")) {
        const index = path.__data__.i;
        const kept = !chosen || (kind === "trials" ? chosen.has(entry.points[index]) : !bound.customdata || configurations.has(bound.customdata[index]));
        path.style.opacity = !kept ? 0.08 : kind === "mean" ? 1 : chosen ? 0.95 : bound.marker.opacity;
      }
    }
  }
}
