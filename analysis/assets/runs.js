// Tables, curves and the full record of a trial.
let lazy = null;
const COLUMNS = [
  ["P", "budget"], ["N", "n_rec"], ["d_m", "d_m"], ["k_e", "k_e"], ["k_c", "k_c"], ["seed", "seed"], ["metric", "value"],
  ["wall s", "wall_s"], ["trial", "id"],
];
const TABLE_ROWS = 200, CURVES = 60;
let order = {column: null, down: false};

function trialLine(i) {
  const g = group(), at = name => digits(g.column(name)(i));
  return `${g.trials.id[i]}: P ${at("trainable_params")} · N ${at("n_rec")} · d_m ${at("d_m")} · k_e ${at("k_e")} · k_c ${at("k_c")} · seed ${g.trials.seed[i]} → ${g.metric} ${at("value")}`;
}

function configurationLine(c) {
  const g = group(), at = name => digits(g.configurations[name][c]);
  const half = g.configurations.half[c];
  const spread = Number.isNaN(half) ? "1 run, no interval" : `${at("n")} runs, 95 % ± ${digits(half, 2)}`;
  return `P ${at("trainable_params")} · N ${at("n_rec")} · d_m ${at("d_m")} · k_e ${at("k_e")} · k_c ${at("k_c")} → ${g.metric} ${at("mean")} (${spread})`;
}

// In the runs tab every trial of the file is listed, also those that did not finish.
function showRuns() {
  const runs = page.runs, wanted = ($("runs-search") || {}).value || "", status = ($("runs-status") || {}).value || "";
  const rows = runs.id.map((_, i) => i).filter(i => (!status || runs.status[i] === status) && runs.id[i].includes(wanted.trim()));
  $("trials-title").textContent = `Trials (${rows.length.toLocaleString("en-US")})`;
  $("trials-caption").textContent = rows.length > TABLE_ROWS ? `The first ${TABLE_ROWS} are listed: search or choose a status.` : "Enter opens a trial.";
  const columns = [["trial", "id"], ["status", "status"], ["P", "budget"], ["N", "n_rec"], ["d_m", "d_m"], ["k_c", "k_c"], ["seed", "seed"], ["wall s", "wall_s"]];
  const head = element("tr", {}, ...columns.map(([title, name]) => element("th", {scope: "col", class: name === "status" ? "word" : null}, title)), element("th", {scope: "col", class: "text"}, "reason"));
  const body = rows.slice(0, TABLE_ROWS).map(i => element("tr", {tabindex: "0", onclick: () => openRun(i),
    onkeydown: event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); openRun(i); } }},
    ...columns.map(([, name]) => element("td", {class: name !== "status" ? null : runs.status[i] === "finished" ? "word" : "word bad"}, digits(runs[name][i]))),
    element("td", {class: "text"}, runs.reasons[runs.reason[i]])));
  $("trials").replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
}

async function openRun(i) {
  const id = page.runs.id[i];
  for (const [number, g] of page.groups.entries()) {
    const found = g.trials.id.indexOf(id);
    if (found >= 0) {
      if (number !== state.group) { state.group = number; controls(); }
      return open(found);
    }
  }
  state.pinned = null;
  const record = (await recordsOf([id]))[id];
  const text = `${id}: ${page.runs.status[i]}. ${page.runs.reasons[page.runs.reason[i]]}`;
  $("curve-caption").textContent = "This trial entered no analysis.";
  if (record) fillRecord(record, text);
}

function runsFilters() {
  const statuses = [...new Set(page.runs.status)].sort();
  const search = element("input", {type: "search", id: "runs-search", placeholder: "part of a trial id", oninput: showRuns});
  $("runs-filters").replaceChildren(element("label", {}, "Search", search),
    choice("Status", "runs-status", [["", "all"], ...statuses.map(s => [s, s.replaceAll("_", " ")])], "", showRuns));
}

function showTrials(passed) {
  const g = group();
  $("runs-filters").hidden = state.tab !== "runs";
  if (state.tab === "runs") {
    $("selection").classList.remove("empty");
    $("clear").hidden = true;
    if (!$("runs-search")) runsFilters();
    showRuns();
    return showCurves(state.pinned !== null ? [state.pinned] : []);
  }
  const rows = state.selected ? passed.filter(i => state.selected.has(i)) : [];
  $("selection").classList.toggle("empty", !state.selected);
  $("clear").hidden = !state.selected;
  $("trials-title").textContent = state.selected ? `Selected trials (${rows.length.toLocaleString("en-US")})` : "Selected trials";
  const more = rows.length > TABLE_ROWS ? ` The first ${TABLE_ROWS} are listed; CSV has all.` : "";
  $("trials-caption").textContent = state.selected
    ? `Enter opens a trial; Escape clears the selection.${more}` : "Drag a box or lasso in a panel, or click a point.";
  const head = element("tr", {}, ...COLUMNS.map(([title, name]) => element("th", {scope: "col", "aria-sort": order.column === name ? (order.down ? "descending" : "ascending") : null},
    element("button", {type: "button", onclick: () => sortBy(name)}, name === "value" && g ? g.metric : title))));
  if (order.column && g) {
    const value = g.column(order.column), sign = order.down ? -1 : 1;
    rows.sort((a, b) => sign * (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0));
  }
  const body = rows.slice(0, TABLE_ROWS).map(i => element("tr", {tabindex: "0", "data-trial": i, "aria-selected": state.pinned === i ? "true" : "false",
    onclick: () => open(i), onkeydown: event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(i); } }},
    ...COLUMNS.map(([, name]) => element("td", {}, name === "id" ? g.trials.id[i] : digits(g.column(name)(i))))));
  $("trials").replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
  showCurves(state.pinned !== null ? [state.pinned] : rows);
}

function sortBy(name) {
  order = {column: name, down: order.column === name ? !order.down : false};
  showTrials(passing());
}

function open(i) {
  if (!state.selected || !state.selected.has(i)) state.selected = new Set([i]);
  state.pinned = i;
  fade();
  showTrials(passing());
  writeHash();
}

async function recordsOf(ids) {
  if (page.live) {
    const answer = await fetch("trials.json?ids=" + encodeURIComponent(ids.join(",")), {cache: "no-store"});
    return answer.ok ? answer.json() : {};
  }
  if (lazy === null) lazy = inflate($("lazy").textContent);
  const all = await lazy, found = {};
  for (const id of ids) if (all[id]) found[id] = all[id];
  return found;
}

async function showCurves(indices) {
  const wanted = sample(indices, CURVES), pinned = state.pinned;
  $("curve-title").textContent = wanted.length === 1 ? "Training curve" : "Training curves";
  if (!wanted.length) {
    $("curve-caption").textContent = "Of the selected trials.";
    $("detail").replaceChildren();
    if ($("curve")._fullLayout) Plotly.purge($("curve"));
    $("curve").replaceChildren();
    return;
  }
  const records = await recordsOf(wanted.map(i => group().trials.id[i]));
  if (state.pinned !== pinned) return;
  const split = Object.values(records).flatMap(r => Object.keys(r.curves));
  const pick = split.includes("valid") ? "valid" : split[0];
  const x = [], y = [];
  for (const record of Object.values(records)) {
    const curve = record.curves[pick];
    if (!curve) continue;
    x.push(...curve.step, null);
    y.push(...curve.metric, null);
  }
  const more = wanted.length < indices.length ? `${wanted.length} of ${indices.length} trials` : wanted.length === 1 ? group().trials.id[wanted[0]] : `${wanted.length} trials`;
  $("curve-caption").textContent = x.length ? `${more}, ${pick} split` : "No curves were recorded for these trials.";
  const names = tokens(), layout = resolve(page.curve_layout, names);
  layout.yaxis.title.text = pick ? `${pick} ${page.groups[state.group].unit}` : "";
  const trace = {type: "scatter", mode: "lines", x, y, line: {color: names.accent, width: wanted.length === 1 ? 2 : 1}, opacity: wanted.length === 1 ? 1 : 0.55, hoverinfo: wanted.length === 1 ? "x+y" : "skip"};
  Plotly.react($("curve"), [trace], layout, page.config);
  showRecord(pinned !== null ? records[group().trials.id[pinned]] : null, pinned);
}

function showRecord(record, i) {
  if (!record) return $("detail").replaceChildren();
  fillRecord(record, trialLine(i));
}

function fillRecord(record, text) {
  const again = element("pre", {}, record.rerun), spec = element("pre", {}, JSON.stringify(JSON.parse(record.spec), null, 1));
  $("detail").replaceChildren(element("p", {}, text), element("p", {}, "Run it again:"), again,
    element("details", {}, element("summary", {}, "Full spec"), spec));
}

function csv() {
  const g = group(), passed = passing();
  const rows = state.selected ? passed.filter(i => state.selected.has(i)) : passed;
  const names = ["trial_id", "budget", "trainable_params", "n_rec", "d_m", "k_e", "k_c", "seed", "value", "wall_s"];
  const lines = rows.map(i => names.map(name => name === "trial_id" ? g.trials.id[i] : g.column(name)(i)).join(","));
  return names.map(n => n === "value" ? g.measure : n).join(",") + "\n" + lines.join("\n") + "\n";
}

function download(name, text, type) {
  const link = element("a", {href: URL.createObjectURL(new Blob([text], {type})), download: name});
  document.body.append(link);
  link.click();
  link.remove();
}
