// Controls, keyboard, live updates, start.
const COLOUR_BY = [["budget", "budget P"], ["d_m", "d_m"], ["n_rec", "N"], ["k_c", "k_c"]];

function controls() {
  const g = group(), names = tokens();
  $("tabs").replaceChildren(...tabsNow().map(tab => element("button", {
    type: "button", role: "tab", id: `tab-${tab.id}`, "aria-selected": tab.id === state.tab ? "true" : "false", "aria-controls": "panels",
    tabindex: tab.id === state.tab ? "0" : "-1", onclick: () => go(tab.id), onkeydown: tabKey}, tab.title)));
  const parts = [];
  if (page.groups.length > 1) parts.push(choice("Group", "group", page.groups.map((x, i) => [i, x.label]), state.group, v => {
    Object.assign(state, {group: Number(v), off: new Set(), kc: undefined, seed: "", selected: null, pinned: null}); defaults(); controls(); draw(); }));
  if (g) parts.push(element("span", {class: "chips", role: "group", "aria-label": "Budgets"}, ...g.budgets.map((budget, i) => chip(budget, names.budget[i]))));
  if (g && g.k_cs.length > 1) parts.push(choice("Connectivity", "kc", [["", "all k_c"], ...g.k_cs.map(k => [k, `k_c ${short(k)}`])], state.kc === null ? "" : state.kc, v => { state.kc = v === "" ? null : Number(v); draw(); }));
  if (g && g.seeds.length > 1) parts.push(choice("Seed", "seed", [["", "all"], ...g.seeds.map(s => [s, String(s)])], state.seed, v => { state.seed = v; draw(); }));
  if (g) {
    parts.push(choice("Colour", "colour", COLOUR_BY, state.colour, v => { state.colour = v; draw(); }));
    parts.push(tick("theory", "theory", state.theory, v => { state.theory = v; draw(); }));
    parts.push(tick("trials-on", "single trials", state.trials === null ? passing().length <= page.limit : state.trials, v => { state.trials = v; draw(); }));
  }
  parts.push(element("span", {class: "count", id: "count", role: "status"}));
  $("filters").replaceChildren(...parts);
}

function choice(title, id, options, value, change) {
  const select = element("select", {id, onchange: () => change(select.value)}, ...options.map(([v, text]) => element("option", {value: v, selected: String(v) === String(value)}, text)));
  return element("label", {}, title, select);
}

function tick(id, title, on, change) {
  const box = element("input", {type: "checkbox", id, onchange: () => change(box.checked)});
  box.checked = on;
  return element("label", {}, box, title);
}

function chip(budget, colour) {
  const dot = element("i", {"aria-hidden": "true"}), node = element("button", {type: "button", "aria-pressed": state.off.has(budget) ? "false" : "true", "data-budget": budget,
    onclick: () => { state.off.has(budget) ? state.off.delete(budget) : state.off.add(budget); node.setAttribute("aria-pressed", state.off.has(budget) ? "false" : "true"); draw(); }}, dot, short(budget));
  dot.style.background = colour;
  return node;
}

function tabKey(event) {
  const move = {ArrowRight: 1, ArrowLeft: -1}[event.key], tabs = tabsNow();
  if (!move) return;
  event.preventDefault();
  const next = tabs[(tabs.findIndex(t => t.id === state.tab) + move + tabs.length) % tabs.length];
  go(next.id);
  $(`tab-${next.id}`).focus();
}

function go(tab) {
  state.tab = tab;
  controls();
  draw();
}

function defaults() {
  const g = group();
  if (!tabsNow().some(tab => tab.id === state.tab)) state.tab = tabsNow()[0].id;
  if (state.kc === undefined) state.kc = g && g.k_cs.length > 1 ? g.k_cs[0] : null;
}

function paint() {
  document.documentElement.classList.toggle("dark", state.mode === "dark");
  $("dark").setAttribute("aria-pressed", state.mode === "dark" ? "true" : "false");
}

function start() {
  page = unpack(JSON.parse($("payload").textContent));
  readHash();
  if (state.mode === null) state.mode = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  defaults();
  paint();
  $("subtitle").textContent = page.subtitle;
  $("provenance").replaceChildren(...page.provenance.map(line => element("li", {}, line)));
  $("selection").hidden = page.runs.id.length === 0;
  $("csv").onclick = () => download("trials.csv", csv(), "text/csv");
  $("link").onclick = async () => { await navigator.clipboard.writeText(location.href); $("link").textContent = "Copied"; setTimeout(() => { $("link").textContent = "Link"; }, 1500); };
  $("clear").onclick = clearSelection;
  $("print").onclick = () => print();
  $("dark").onclick = () => { state.mode = state.mode === "dark" ? "light" : "dark"; paint(); controls(); draw(); };
  addEventListener("keydown", event => { if (event.key === "Escape") clearSelection(); });
  controls();
  draw();
  if (page.live) watch();
  requestAnimationFrame(() => requestAnimationFrame(() => { window.__ready = performance.now(); document.documentElement.dataset.ready = "1"; }));
}
