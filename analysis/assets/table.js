// The table of trials: every stored column of every trial, with search, filters, sorting and a choice of columns.
// On the Runs tab it lists all trials, elsewhere those that are selected in the figures.
let table = null, tablePromise = null, lazy = null;
const TABLE_STEP = 200, CURVES = 60;
const TITLES = {trial_id: "trial", budget: "P", n_rec: "N", learning_rate: "learning rate", wall_s: "wall s",
  enters: "in the fit", trainable_params: "P achieved"};
const titleOf = name => TITLES[name] || name.replace(/^(final|best)_(train|valid|test)_/, "$1 $2 ");

async function loadTable() {
  if (tablePromise === null) {
    tablePromise = (page.live ? fetch("table.json", {cache: "no-store"}).then(answer => answer.json()) : inflate($("table-data").textContent))
      .then(raw => { table = readTable(raw); return table; })
      // Forgotten after a failure, so that the next look tries again.
      .catch(error => { tablePromise = null; throw error; });
  }
  return tablePromise;
}

function readTable(raw) {
  const columns = raw.columns.map(reader), named = new Map(columns.map(column => [column.name, column]));
  const ids = raw.columns[0].texts, place = new Map(ids.map((id, row) => [id, row]));
  // Search goes through texts that vary; what all rows share would match all or none.
  const texts = columns.filter(column => column.kind === "text" && !column.same);
  return {columns, named, ids, place, texts, shown: raw.shown.filter(name => named.has(name)), metric: raw.metric, total: raw.total, haystack: []};
}

function reader(raw) {
  const values = numbers(raw.values), codes = numbers(raw.codes);
  let at = () => raw.same;
  if (values) at = row => Number.isNaN(values[row]) ? null : values[row];
  else if (codes) at = row => raw.words[codes[row]];
  else if (raw.texts) at = row => raw.texts[row];
  return {name: raw.name, kind: raw.kind, at, same: "same" in raw, varies: !("same" in raw)};
}

function written(column, row) {
  const value = column.at(row);
  if (value === null || value === undefined) return "–";
  if (column.kind === "time") return new Date(value).toISOString().replace("T", " ").slice(0, 19);
  return column.name === "trial_id" ? value : digits(value);
}

// A filter of a column: "2..5", ">= 1e4", "3, 5" or "none" for numbers and times; a part of the text, "=all of it" or "!not it".
function test(column, text) {
  const parts = text.split(",").map(part => part.trim()).filter(Boolean).map(part => column.kind === "text" ? textTest(part) : numberTest(part, column.kind));
  if (!parts.length) return () => true;
  // Half a filter would show rows that nobody asked for, so one that cannot be read is named and not applied.
  if (parts.includes(null)) return null;
  return value => parts.some(part => part(value));
}

function textTest(part) {
  const wanted = part.replace(/^[=!]/, "").toLowerCase();
  if (part[0] === "=") return value => (value || "").toLowerCase() === wanted;
  if (part[0] === "!") return value => !(value || "").toLowerCase().includes(wanted);
  return value => (value || "").toLowerCase().includes(wanted);
}

function numberTest(part, kind) {
  if (part === "none") return value => value === null;
  // Times are shown in UTC, so they are read as UTC too; a browser would take them for local ones.
  const read = text => kind === "time" ? Date.parse(text.trim() + (/[T:]/.test(text) && !/Z\s*$/.test(text) ? "Z" : "")) : text.trim() === "" ? NaN : Number(text);
  const range = part.split("..");
  if (range.length === 2) {
    const low = range[0].trim() ? read(range[0]) : -Infinity, high = range[1].trim() ? read(range[1]) : Infinity;
    return Number.isNaN(low + high) && !(low === -Infinity && high === Infinity) ? null : value => value !== null && value >= low && value <= high;
  }
  const [, sign, rest] = part.match(/^(>=|<=|!=|>|<|=)?(.*)$/), limit = read(rest);
  if (Number.isNaN(limit)) return null;
  const holds = {">=": v => v >= limit, "<=": v => v <= limit, "!=": v => v !== limit, ">": v => v > limit, "<": v => v < limit}[sign] || (v => v === limit);
  return value => value !== null && holds(value);
}

function haystack(row) {
  // Joined once per row and kept: a search looks at every row at every key.
  if (table.haystack[row] === undefined) table.haystack[row] = table.texts.map(column => column.at(row) || "").join("\n").toLowerCase();
  return table.haystack[row];
}

// Rows that pass search and filters, in the order asked for; `unread` collects filters that cannot be read.
function tableRows(rows, unread = []) {
  const wanted = state.table.search.toLowerCase().split(/\s+/).filter(Boolean);
  if (wanted.length) rows = rows.filter(row => wanted.every(word => haystack(row).includes(word)));
  for (const [name, text] of Object.entries(state.table.filters)) {
    const column = table.named.get(name);
    if (!column || !text) continue;
    const holds = test(column, text);
    if (holds === null) unread.push(name);
    else rows = rows.filter(row => holds(column.at(row)));
  }
  const column = table.named.get(state.table.sort);
  if (!column) return rows;
  const sign = state.table.down ? -1 : 1;
  // Missing values stay at the end whichever way the column is sorted: nobody looks for them first.
  return [...rows].sort((a, b) => {
    const x = column.at(a), y = column.at(b);
    if (x === null || y === null || x === undefined || y === undefined) return (x == null) - (y == null) || a - b;
    return sign * (x < y ? -1 : x > y ? 1 : 0) || a - b;
  });
}

const columnsNow = () => (state.table.columns || table.shown).map(name => table.named.get(name)).filter(Boolean);

// Rows before search and filters: everything on the Runs tab, elsewhere the selected trials that pass the page's filters.
function candidates() {
  if (state.tab === "runs") return table.ids.map((_, row) => row);
  const g = group();
  if (!g || !state.selected) return [];
  return passing().filter(i => state.selected.has(i)).map(i => table.place.get(g.trials.id[i])).filter(row => row !== undefined);
}

function showTrials() {
  const runs = state.tab === "runs", wanted = runs || state.selected !== null;
  $("selection").classList.toggle("empty", !wanted);
  $("selection").classList.toggle("runs", runs);
  $("clear").hidden = !state.selected;
  if (!wanted) {
    $("trials-title").textContent = "Selected trials";
    $("trials-caption").textContent = "Drag a box or lasso in a panel, or click a point.";
    $("curve-card").hidden = true;
    return null;
  }
  if (table === null) {
    $("trials-caption").textContent = "Reading the table…";
    return loadTable().then(showTrials, error => { $("trials-caption").textContent = `The table could not be read: ${error.message}`; });
  }
  const unread = [], all = candidates(), rows = tableRows(all, unread);
  keepingFocus(() => fillTable(rows, unread));
  caption(all, rows, unread);
  tableTools(runs);
  showCurves(runs ? [] : rows);
  if (runs) showRunFigures(rows);
  return null;
}

function caption(all, rows, unread) {
  const number = value => value.toLocaleString("en-US"), runs = state.tab === "runs";
  $("trials-title").textContent = `${runs ? "Trials" : "Selected trials"} (${number(rows.length)})`;
  const parts = [];
  if (runs && all.length < table.total) parts.push(`This file lists ${number(all.length)} of ${number(table.total)} trials, the finished ones drawn at random.`);
  if (rows.length < all.length) parts.push(`${number(rows.length)} of ${number(all.length)} pass search and filters.`);
  for (const name of unread) parts.push(`${titleOf(name)}: the filter cannot be read; write > 3, 2..5 or 3, 5.`);
  parts.push(`Enter opens a trial${state.selected ? "; Escape clears the selection" : ""}.`);
  $("trials-caption").textContent = parts.join(" ");
}

function fillTable(rows, unread) {
  const columns = columnsNow(), metric = group() && group().measure;
  const heads = columns.map(column => element("th", {scope: "col", class: column.kind === "text" ? "word" : null,
    "aria-sort": state.table.sort === column.name ? (state.table.down ? "descending" : "ascending") : null},
    element("button", {type: "button", "data-focus": `sort ${column.name}`, title: [column.name, page.glossary[column.name]].filter(Boolean).join(": "),
      onclick: () => sortBy(column.name)}, column.name === metric && state.tab !== "runs" ? group().metric : titleOf(column.name))));
  const filters = columns.map(column => element("td", {class: "filter"}, element("input", {type: "text", "data-focus": `filter ${column.name}`,
    "aria-label": `Filter ${titleOf(column.name)}`, "aria-invalid": unread.includes(column.name) ? "true" : null,
    placeholder: column.kind === "text" ? "part of it" : "2..5, > 3", value: state.table.filters[column.name] || "",
    oninput: event => { filterBy(column.name, event.target.value); }})));
  // A browser needs seconds to lay out tens of thousands of rows.
  const shown = rows.slice(0, state.table.rows);
  const body = shown.map(row => element("tr", {tabindex: "0", "data-focus": `row ${table.ids[row]}`, "data-trial": table.ids[row],
    "aria-selected": state.opened === table.ids[row] ? "true" : "false", onclick: () => openTrial(table.ids[row]),
    onkeydown: event => rowKey(event, table.ids[row])},
    ...columns.map(column => element("td", {class: cellClass(column, row)}, written(column, row)))));
  $("trials").replaceChildren(element("thead", {}, element("tr", {}, ...heads), state.tab === "runs" ? element("tr", {class: "filters-row"}, ...filters) : null), element("tbody", {}, ...body));
  const left = rows.length - shown.length;
  $("more").hidden = left <= 0;
  $("more").textContent = `Show ${Math.min(left, 5 * TABLE_STEP).toLocaleString("en-US")} more of ${left.toLocaleString("en-US")}`;
}

function cellClass(column, row) {
  if (column.name === "reason") return "text";
  if (column.name === "status") return column.at(row) === "finished" ? "word" : "word bad";
  return column.kind === "text" ? "word" : null;
}

function rowKey(event, id) {
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    openTrial(id);
  }
  const step = {ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling"}[event.key];
  if (step && event.currentTarget[step]) {
    event.preventDefault();
    event.currentTarget[step].focus();
  }
}

function sortBy(name) {
  const now = state.table;
  Object.assign(now, {sort: name, down: now.sort === name ? !now.down : false});
  showTrials();
  writeHash();
}

function filterBy(name, text) {
  if (text.trim()) state.table.filters[name] = text;
  else delete state.table.filters[name];
  showTrials();
  writeHash();
}

function tableTools(runs) {
  const tools = $("table-tools");
  tools.hidden = false;
  if (!tools.childElementCount) {
    const search = element("input", {type: "search", id: "search", placeholder: "id, status, reason, host …", value: state.table.search,
      oninput: () => { state.table.search = search.value; showTrials(); writeHash(); }});
    tools.append(element("label", {}, "Search", search),
      element("button", {type: "button", id: "unfilter", onclick: unfilter}, "Clear filters"),
      element("details", {class: "columns"}, element("summary", {}, "Columns"), element("div", {class: "choices", id: "column-choice", role: "group", "aria-label": "Columns of the table"})));
  }
  $("unfilter").hidden = !(state.table.search || Object.values(state.table.filters).some(Boolean));
  tickList($("column-choice"), table.columns.map(column => column.name), columnsNow().map(column => column.name), table.shown,
    names => { state.table.columns = names; showTrials(); writeHash(); });
}

function unfilter() {
  Object.assign(state.table, {search: "", filters: {}});
  $("search").value = "";
  showTrials();
  writeHash();
  $("search").focus();
}

// Boxes to tick, in the order of `names`; the choice keeps that order.
function tickList(node, names, chosen, usual, change) {
  const on = new Set(chosen), key = `${names.join()}|${chosen.join()}`;
  // Rebuilding the boxes while one is being ticked would take the focus from it.
  if (node.dataset.key === key) return;
  keepingFocus(() => {
    node.dataset.key = key;
    node.replaceChildren(...names.map(name => {
      const box = element("input", {type: "checkbox", "data-focus": `${node.id} ${name}`, onchange: () => {
        box.checked ? on.add(name) : on.delete(name);
        change(names.filter(each => on.has(each)));
      }});
      box.checked = on.has(name);
      return element("label", {title: page.glossary[name] || null}, box, titleOf(name));
    }), element("button", {type: "button", "data-focus": `${node.id} all`, onclick: () => change(names)}, "All"),
    element("button", {type: "button", "data-focus": `${node.id} usual`, onclick: () => change(usual)}, "The usual ones"));
  });
}

// The text of a cell that a spreadsheet would take for a formula gets an apostrophe in front.
function csvCell(value, kind) {
  if (value === null || value === undefined) return "";
  if (kind === "number") return String(value);
  const text = kind === "time" ? new Date(value).toISOString() : String(value);
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

// Every column of the trials that are shown: the rows of the table, or without a selection all that pass the filters.
async function csv() {
  await loadTable();
  const g = group();
  const rows = state.tab === "runs" || state.selected ? tableRows(candidates())
    : g ? passing().map(i => table.place.get(g.trials.id[i])).filter(row => row !== undefined) : [];
  const lines = rows.map(row => table.columns.map(column => csvCell(column.at(row), column.kind)).join(","));
  return [table.columns.map(column => csvCell(column.name, "text")).join(","), ...lines].join("\n") + "\n";
}

function download(name, text, type) {
  const link = element("a", {href: URL.createObjectURL(new Blob([text], {type})), download: name});
  document.body.append(link);
  link.click();
  link.remove();
}
