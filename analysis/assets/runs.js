// Curves and the full record of trials.
function trialLine(i) {
  const g = group(), at = name => digits(g.column(name)(i));
  return `${g.trials.id[i]}: P ${at("trainable_params")} · N ${at("n_rec")} · d_m ${at("d_m")} · k_e ${at("k_e")} · k_c ${at("k_c")}${Number.isFinite(g.trials.seed[i]) ? ` · seed ${g.trials.seed[i]}` : ""} → ${g.metric} ${at("value")}`;
}

function configurationLine(c) {
  const g = group(), at = name => digits(g.configurations[name][c]);
  const half = g.configurations.half[c];
  const spread = Number.isNaN(half) ? "1 run, no interval" : `${at("n")} runs, 95 % ± ${digits(half, 2)}`;
  return `P ${at("trainable_params")} · N ${at("n_rec")} · d_m ${at("d_m")} · k_e ${at("k_e")} · k_c ${at("k_c")} → ${g.metric} ${at("mean")} (${spread})`;
}

// Opening a trial of the group selects it where nothing else holds it; one of another group, or of none, is shown alone.
function open(i) {
  if (!state.selected || !state.selected.has(i)) state.selected = new Set([i]);
  openTrial(group().trials.id[i]);
}

function openTrial(id) {
  state.opened = id;
  fade();
  showTrials();
  writeHash();
}

async function recordsOf(ids) {
  if (page.live) {
    const answer = await fetch("trials.json?ids=" + encodeURIComponent(ids.join(",")), {cache: "no-store"});
    return answer.ok ? answer.json() : {};
  }
  // Read when a trial is first opened, since specs and curves are the largest part of the file.
  if (lazy === null) lazy = inflate($("lazy").textContent);
  const all = await lazy, records = {};
  for (const id of ids) if (Object.hasOwn(all, id)) records[id] = all[id];
  return records;
}

function noCurves(text) {
  $("curve-caption").textContent = text;
  if ($("curve")._fullLayout) Plotly.purge($("curve"));
  $("curve").replaceChildren();
}

// Draws the curves of the opened trial, or of the rows that are shown.
async function showCurves(rows) {
  const opened = state.opened, ids = opened !== null ? [opened] : sample(rows, CURVES).map(row => table.ids[row]);
  // What is on screen already is not drawn again: every redraw of the page ends here.
  const about = `${ids.join()} ${state.mode} ${state.group} ${page.tag || ""}`;
  $("curve-card").hidden = ids.length === 0;
  if (state.view.curves === about) return;
  state.view.curves = about;
  $("curve-title").textContent = ids.length === 1 ? "Training curve" : "Training curves";
  if (opened === null) $("detail").replaceChildren();
  if (!ids.length) return noCurves("Of the selected trials.");
  const records = await recordsOf(ids);
  if (state.view.curves !== about) return;  // something else was opened while this was read
  showRecord(opened, records[opened]);
  const splits = Object.values(records).flatMap(record => Object.keys(record.curves));
  const pick = splits.includes("valid") ? "valid" : splits[0];
  const x = [], y = [], norms = {x: [], y: []};
  for (const record of Object.values(records)) {
    const curve = record.curves[pick], train = record.curves.train;
    if (train && train.gradient_norm) {
      norms.x.push(...train.step, null);
      norms.y.push(...train.gradient_norm, null);
    }
    if (!curve) continue;
    // One trace with gaps for all curves: a trace for each would be drawn many times slower.
    x.push(...curve.step, null);
    y.push(...curve.metric, null);
  }
  const more = ids.length < rows.length && opened === null ? `${ids.length} of ${rows.length} trials` : ids.length === 1 ? ids[0] : `${ids.length} trials`;
  if (!x.length) return noCurves("No curves were recorded for these trials.");
  $("curve-caption").textContent = `${more}, ${pick} split${norms.x.length ? "; dashed, right: norm of the gradient before clipping, mean between evaluations" : ""}`;
  const names = tokens(), layout = resolve(page.curve_layout, names), one = ids.length === 1;
  layout.yaxis.title.text = pick ? `${pick} ${group() ? group().unit : "metric"}` : "";
  const trace = {type: "scatter", mode: "lines", x, y, line: {color: names.accent, width: one ? 2 : 1}, opacity: one ? 1 : 0.55, hoverinfo: one ? "x+y" : "skip"};
  const traces = [trace];
  if (norms.x.length) {
    const known = norms.y.filter(value => value > 0), far = Math.max(...known) > 10 * Math.min(...known);
    layout.yaxis2 = {...layout.yaxis, overlaying: "y", side: "right", showgrid: false, title: {...layout.yaxis.title, text: "norm of the gradient"},
      ...(far ? {type: "log", ...logTicks(known)} : {type: "linear", tickmode: "auto", nticks: 6})};
    layout.margin = {...layout.margin, r: 62};
    traces.push({...trace, ...norms, yaxis: "y2", line: {color: names.theory, width: one ? 1.5 : 1, dash: "dash"}});
  }
  Plotly.react($("curve"), traces, layout, page.config);
}

function showRecord(id, record) {
  if (id === null || !record) return $("detail").replaceChildren();
  const row = table ? table.place.get(id) : undefined, at = name => row === undefined ? null : table.named.get(name).at(row);
  const i = group() ? group().place.get(id) : undefined;
  const text = i !== undefined ? trialLine(i) : `${id}: ${[at("status"), at("reason")].filter(Boolean).join(". ")}`;
  const again = element("pre", {}, record.rerun), spec = element("pre", {}, JSON.stringify(JSON.parse(record.spec), null, 1));
  const parts = [element("p", {}, text), element("p", {}, "Run it again:"), again, element("details", {}, element("summary", {}, "Full spec"), spec)];
  if (i === undefined) parts.splice(1, 0, element("p", {}, "It is not among the rows of the group that is shown."));
  $("detail").replaceChildren(...parts);
}
