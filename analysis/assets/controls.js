// Filters on top of the page, the glossary, and keeping the focus where it was.
const COLOUR_BY = [["budget", "budget P"], ["d_m", "d_m"], ["n_rec", "N"], ["k_c", "k_c"]];

// Elements are made anew when rows or filters change; whoever works with the keyboard must not be thrown back to the top.
function keepingFocus(rebuild) {
  const before = document.activeElement, id = before && before.id, key = before && before.dataset && before.dataset.focus;
  const cursor = before && before.tagName === "INPUT" && /text|search/.test(before.type) ? [before.selectionStart, before.selectionEnd] : null;
  rebuild();
  if (!before || before === document.activeElement || document.contains(before) || !(id || key)) return;
  const after = key ? document.querySelector(`[data-focus="${CSS.escape(key)}"]`) : $(id);
  if (!after) return;
  after.focus({preventScroll: true});
  if (cursor) after.setSelectionRange(...cursor);
}

// A text as nodes, the words of the glossary explained on hover.
function worded(text) {
  if (!page.words) {
    // Longer terms first, or a shorter one inside of them would win.
    const terms = Object.keys(page.glossary).sort((a, b) => b.length - a.length).map(term => term.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    page.words = terms.length ? new RegExp(`(?<![\\w-])(${terms.join("|")})(?![\\w-])`) : null;
  }
  if (!page.words) return [text];
  const seen = new Set();  // once a sentence is enough: more dotted lines would make it hard to read
  return String(text).split(page.words).filter(Boolean).map(part => {
    if (!Object.hasOwn(page.glossary, part) || seen.has(part)) return part;
    seen.add(part);
    return element("abbr", {title: page.glossary[part]}, part);
  });
}

function controls() {
  keepingFocus(fillControls);
}

function fillControls() {
  const g = group(), names = tokens();
  $("tabs").replaceChildren(...tabsNow().map(tab => element("button", {
    type: "button", role: "tab", id: `tab-${tab.id}`, "aria-selected": tab.id === state.tab ? "true" : "false", "aria-controls": "panels",
    tabindex: tab.id === state.tab ? "0" : "-1", onclick: () => go(tab.id), onkeydown: tabKey}, tab.title)));
  const parts = [];
  if (page.groups.length > 1) parts.push(choice("Group", "group", page.groups.map((x, i) => [i, x.label]), state.group, changeGroup));
  if (g) parts.push(element("span", {class: "chips", role: "group", "aria-label": "Budgets"}, ...g.budgets.map((budget, i) => chip(budget, names.budget[i]))));
  if (g && g.k_cs.length > 1) parts.push(choice("Connectivity", "kc", [["", "all k_c"], ...g.k_cs.map(k => [k, `k_c ${short(k)}`])], state.kc === null ? "" : state.kc, v => { state.kc = v === "" ? null : Number(v); draw(); }));
  if (g && g.seeds.length > 1) parts.push(choice("Seed", "seed", [["", "all"], ...g.seeds.map(s => [s, String(s)])], state.seed, v => { state.seed = v; draw(); }));
  if (g) {
    parts.push(choice("Colour", "colour", COLOUR_BY, state.colour, v => { state.colour = v; draw(); }));
    parts.push(tick("theory", "theory", state.theory, v => { state.theory = v; draw(); }));
    parts.push(tick("trials-on", "single trials", state.trials === null ? passing().length <= page.limit : state.trials, v => { state.trials = v; draw(); }));
  }
  $("filters").replaceChildren(...parts);
  $("fold").hidden = state.tab === "runs" || !parts.length;  // the table has filters of its own
}

function changeGroup(number) {
  // Another group has other budgets, connectivities and trials, so no filter or selection carries over.
  Object.assign(state, {group: Number(number), off: new Set(), kc: undefined, seed: "", selected: null, opened: null});
  defaults();
  controls();
  draw();
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
  const dot = element("i", {"aria-hidden": "true"}), node = element("button", {type: "button", "aria-pressed": state.off.has(budget) ? "false" : "true", "data-budget": budget, "data-focus": `budget ${budget}`,
    onclick: () => { state.off.has(budget) ? state.off.delete(budget) : state.off.add(budget); node.setAttribute("aria-pressed", state.off.has(budget) ? "false" : "true"); draw(); }}, dot, short(budget));
  dot.style.background = colour;
  return node;
}

// Arrow keys move between tabs and Tab leaves them, as the ARIA pattern for tabs has it.
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
  $("tabs").scrollIntoView({block: "nearest"});  // the Runs tab has no answer, and what stood below it moves up
}

// What the filters let through, for where they themselves are not seen.
function chosenFilters(g) {
  const off = g.budgets.filter(budget => state.off.has(budget)).map(short), parts = [`Group: ${g.label}`];
  parts.push(off.length ? `without P = ${off.join(", ")}` : "all budgets");
  parts.push(state.kc === null ? "all k_c" : `k_c = ${short(state.kc)}`);
  parts.push(state.seed === "" ? "all seeds" : `seed ${state.seed}`);
  return parts;
}

// What a printed page must say because its controls are not on the paper.
function printedFilters(passed) {
  const g = group(), runs = state.tab === "runs";
  if (!g) return "";
  const parts = runs ? ["All groups"] : chosenFilters(g);  // the Runs tab is about the whole sweep
  const table = Object.entries(state.table.filters).map(([name, text]) => `${titleOf(name)} ${text}`);
  if (runs && (table.length || state.table.search)) parts.push(`table: ${[state.table.search, ...table].filter(Boolean).join("; ")}`);
  if (state.selected) parts.push(`${state.selected.size.toLocaleString("en-US")} trials selected`);
  const all = page.total.toLocaleString("en-US"), count = runs ? "" : `${passed.length.toLocaleString("en-US")} of `;
  return `${parts.join(" · ")} · ${count}${all} trial${page.total === 1 ? "" : "s"}`;
}
