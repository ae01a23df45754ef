// What is shown: every choice lives in `state`, and in the address after #, so that a link reproduces the view.
const state = {
  tab: "tradeoff", group: 0, off: new Set(), kc: undefined, seed: "", colour: "budget", theory: true, trials: null,
  selected: null,  // indices of the group's trials; null for no selection
  opened: null,    // id of the trial whose record is shown
  mode: null,
  axis: {},        // of each panel with several figures the label of the one that is shown
  table: {},       // search, sort, filters, columns of the table of trials (see table.js)
  parallel: null,  // axes of the parallel coordinates; null for the usual ones
  view: {},
};
// The payload; the live page replaces it whole whenever rows changed.
let page = null;

const $ = id => document.getElementById(id);
const group = () => page.groups[state.group] || null;
const tabsNow = () => [...(group() ? group().tabs : []), ...page.tabs];
const tokens = () => ({...page.theme[state.mode], ...(group() ? group().theme[state.mode] : {})});
const openedIndex = () => state.opened === null || !group() ? null : group().place.get(state.opened) ?? null;

function emptyTable() {
  return {search: "", sort: null, down: false, filters: {}, columns: null, rows: 200};
}

function resolve(node, names) {
  if (typeof node === "string" && node[0] === "@") {
    const [name, index] = node.slice(1).split(":");
    // A text of the user's may begin with @ as well.
    if (!(name in names)) return node;
    return index === undefined ? names[name] : names[name][index % names[name].length];
  }
  if (Array.isArray(node)) return node.map(child => resolve(child, names));
  // Packed arrays are left as they are: Plotly reads them, and copying large ones at every redraw would be slow.
  if (node && typeof node === "object" && node.bdata === undefined) {
    const copy = {};
    for (const key of Object.keys(node)) copy[key] = resolve(node[key], names);
    return copy;
  }
  return node;
}

// A few trials stand in the address by id, which survives new rows. Many would make an address that no mail program
// keeps whole, so they stand there as bits in the order of the group's trials, behind a check of that order.
const BY_ID = 50;

function selectionText(g, selected) {
  if (selected.size <= BY_ID) return [...selected].map(i => g.trials.id[i]).join(",");
  const bits = new Uint8Array(Math.ceil(g.count / 8));
  for (const i of selected) bits[i >> 3] |= 1 << (i & 7);
  return `bits:${orderCheck(g)}:${btoa(String.fromCharCode(...bits))}`;
}

function selectionOf(g, text) {
  if (!text.startsWith("bits:")) return new Set(text.split(",").map(id => g.place.get(id)).filter(i => i !== undefined));
  const [, check, packed] = text.split(":");
  // Bits of another order would select other trials; no selection, and a line that says so, is better.
  if (check !== orderCheck(g)) {
    state.view.lostSelection = true;
    return new Set();
  }
  const bits = bytesOf(packed), chosen = new Set();
  for (let i = 0; i < g.count; i++) if (bits[i >> 3] >> (i & 7) & 1) chosen.add(i);
  return chosen;
}

// FNV-1a over all ids: says whether an address was made for these very rows.
function orderCheck(g) {
  let hash = 0x811c9dc5;
  for (const id of g.trials.id)
    // Math.imul multiplies as 32-bit integers do; a plain product would lose its low bits beyond 2^53.
    for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(16);
}

function readHash() {
  const hash = new URLSearchParams(location.hash.slice(1));
  if (hash.has("tab")) state.tab = hash.get("tab");
  // By label and not by number: groups are sorted by their rows, so numbers change while a sweep runs.
  if (hash.has("group")) state.group = Math.max(0, page.groups.findIndex(g => g.label === hash.get("group")));
  state.off = new Set((hash.get("off") || "").split(",").filter(Boolean).map(Number));
  if (hash.has("kc")) state.kc = hash.get("kc") === "all" ? null : Number(hash.get("kc"));
  state.seed = hash.get("seed") || "";
  state.colour = hash.get("colour") || "budget";
  state.theory = hash.get("theory") !== "0";
  // Null stands for the page's own choice, which depends on how many trials pass the filters.
  state.trials = hash.has("trials") ? hash.get("trials") === "1" : null;
  if (hash.has("mode")) state.mode = hash.get("mode") === "dark" ? "dark" : "light";
  const table = emptyTable();
  table.search = hash.get("search") || "";
  if (hash.has("sort")) Object.assign(table, {sort: hash.get("sort").replace(/^-/, ""), down: hash.get("sort")[0] === "-"});
  if (hash.has("columns")) table.columns = hash.get("columns").split(",").filter(Boolean);
  if (hash.has("parallel")) state.parallel = hash.get("parallel").split(",").filter(Boolean);
  for (const [name, value] of hash) {
    if (name.startsWith("axis.")) state.axis[name.slice(5)] = value;
    if (name.startsWith("filter.")) table.filters[name.slice(7)] = value;
  }
  state.table = table;
  state.opened = hash.get("open");
  const chosen = hash.has("sel") && group() ? selectionOf(group(), hash.get("sel")) : new Set();
  if (chosen.size) state.selected = chosen;
}

function writeHash() {
  const hash = new URLSearchParams(), table = state.table;
  hash.set("tab", state.tab);
  if (page.groups.length > 1 && group()) hash.set("group", group().label);
  if (state.off.size) hash.set("off", [...state.off].join(","));
  hash.set("kc", state.kc === null ? "all" : state.kc);
  if (state.seed !== "") hash.set("seed", state.seed);
  if (state.colour !== "budget") hash.set("colour", state.colour);
  if (!state.theory) hash.set("theory", "0");
  if (state.trials !== null) hash.set("trials", state.trials ? "1" : "0");
  for (const [panel, label] of Object.entries(state.axis)) hash.set(`axis.${panel}`, label);
  if (table.search) hash.set("search", table.search);
  if (table.sort) hash.set("sort", (table.down ? "-" : "") + table.sort);
  for (const [name, text] of Object.entries(table.filters)) if (text) hash.set(`filter.${name}`, text);
  if (table.columns) hash.set("columns", table.columns.join(","));
  if (state.parallel) hash.set("parallel", state.parallel.join(","));
  hash.set("mode", state.mode);
  if (state.selected) hash.set("sel", selectionText(group(), state.selected));
  if (state.opened !== null) hash.set("open", state.opened);
  // Not pushed: with an entry for every filter the back button would no longer leave the page.
  history.replaceState(null, "", "#" + hash.toString());
}

// Trials that pass the filters, as indices; recomputed only when a filter changes.
function passing() {
  const g = group();
  if (!g) return [];
  const budget = g.column("budget"), kc = g.column("k_c"), seeds = g.trials.seed, kept = [];
  for (let i = 0; i < g.count; i++) {
    if (state.off.has(budget(i)) || (state.kc !== null && kc(i) !== state.kc)) continue;
    if (state.seed !== "" && seeds[i] !== Number(state.seed)) continue;
    kept.push(i);
  }
  return kept;
}

function sample(indices, limit) {
  if (indices.length <= limit) return indices;
  // Evenly and not at random, so that the picture does not flicker from one redraw to the next.
  const step = indices.length / limit;
  return Array.from({length: limit}, (_, k) => indices[Math.floor(k * step)]);
}
