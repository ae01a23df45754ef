// What is shown: every choice lives in `state`, and in the address after #, so that a link reproduces the view.
const state = {
  tab: "tradeoff", group: 0, off: new Set(), kc: undefined, seed: "", colour: "budget", theory: true, trials: null,
  selected: null, pinned: null, mode: null, view: {},
};
let page = null;

const $ = id => document.getElementById(id);
const group = () => page.groups[state.group] || null;
const tabsNow = () => [...(group() ? group().tabs : []), ...page.tabs];
const tokens = () => ({...page.theme[state.mode], ...(group() ? group().theme[state.mode] : {})});

function resolve(node, names) {
  if (typeof node === "string" && node[0] === "@") {
    const [name, index] = node.slice(1).split(":");
    if (!(name in names)) return node;
    return index === undefined ? names[name] : names[name][index % names[name].length];
  }
  if (Array.isArray(node)) return node.map(child => resolve(child, names));
  if (node && typeof node === "object" && node.bdata === undefined) {
    const copy = {};
    for (const key of Object.keys(node)) copy[key] = resolve(node[key], names);
    return copy;
  }
  return node;
}

function readHash() {
  const hash = new URLSearchParams(location.hash.slice(1));
  if (hash.has("tab")) state.tab = hash.get("tab");
  if (hash.has("group")) state.group = Math.max(0, page.groups.findIndex(g => g.label === hash.get("group")));
  state.off = new Set((hash.get("off") || "").split(",").filter(Boolean).map(Number));
  if (hash.has("kc")) state.kc = hash.get("kc") === "all" ? null : Number(hash.get("kc"));
  state.seed = hash.get("seed") || "";
  state.colour = hash.get("colour") || "budget";
  state.theory = hash.get("theory") !== "0";
  state.trials = hash.has("trials") ? hash.get("trials") === "1" : null;
  if (hash.has("mode")) state.mode = hash.get("mode") === "dark" ? "dark" : "light";
  const ids = hash.get("sel");
  if (ids && group()) {
    const wanted = new Set(ids.split(",")), found = new Set();
    group().trials.id.forEach((id, i) => wanted.has(id) && found.add(i));
    if (found.size) state.selected = found;
  }
}

function writeHash() {
  const hash = new URLSearchParams();
  hash.set("tab", state.tab);
  if (page.groups.length > 1 && group()) hash.set("group", group().label);
  if (state.off.size) hash.set("off", [...state.off].join(","));
  hash.set("kc", state.kc === null ? "all" : state.kc);
  if (state.seed !== "") hash.set("seed", state.seed);
  if (state.colour !== "budget") hash.set("colour", state.colour);
  if (!state.theory) hash.set("theory", "0");
  if (state.trials !== null) hash.set("trials", state.trials ? "1" : "0");
  hash.set("mode", state.mode);
  if (state.selected && state.selected.size <= 200)
    hash.set("sel", [...state.selected].map(i => group().trials.id[i]).join(","));
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
  const step = indices.length / limit;
  return Array.from({length: limit}, (_, k) => indices[Math.floor(k * step)]);
}
