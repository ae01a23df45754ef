// The served page asks for changes every few seconds; the server answers 304 when there are none.
const live = {tag: null, paused: false, changed: Date.now(), failed: false, launches: null, asked: 0, shown: 0};

async function refresh() {
  // A page in the background asks nothing; it catches up when it is looked at (see `visibilitychange`).
  if (live.paused || document.hidden) return;
  launches();
  const turn = ++live.asked;
  let answer;
  try {
    answer = await fetch("data.json", {cache: "no-store", headers: live.tag ? {"If-None-Match": live.tag} : {}});
  } catch (error) {
    live.failed = true;
    return;
  }
  // A single failed answer only turns the clock amber; the next question comes by itself.
  live.failed = answer.status !== 200 && answer.status !== 304;
  if (answer.status !== 200) return;
  const fresh = unpack(await answer.json());
  // Answers may overtake each other, and one that was asked for earlier than what is shown is older.
  if (turn < live.shown) return;
  live.shown = turn;
  live.tag = answer.headers.get("ETag");
  adopt(fresh);
}

async function launches() {
  try {
    const answer = await fetch("launches.json", {cache: "no-store"});
    if (answer.status === 200) live.launches = await answer.json();
  } catch (error) {
    return;  // the clock says that the server is not reachable
  }
  showLaunches();
}

function showLaunches() {
  const panel = page.tabs.flatMap(tab => tab.panels).find(p => p.id === "running"), entry = drawn.get("running");
  if (!panel || !live.launches) return;
  panel.summary = live.launches.summary;
  panel.rows = live.launches.rows.length ? live.launches.rows : null;
  // The panel's tab is not open; what it shows is filled in when it is opened.
  if (!entry) return;
  entry.panel = panel;
  fill(entry);
}

function adopt(fresh) {
  // Selection and group are kept by id and label, because new rows change the order of both.
  const label = group() && group().label, ids = new Set(state.selected ? [...state.selected].map(i => group().trials.id[i]) : []);
  page = fresh;
  live.changed = Date.now();
  state.group = Math.max(0, page.groups.findIndex(g => g.label === label));
  state.selected = null;
  const g = group();
  if (g) {
    const chosen = new Set();
    g.trials.id.forEach((id, i) => { if (ids.has(id)) chosen.add(i); });
    if (chosen.size) state.selected = chosen;
  }
  defaults();
  showLaunches();
  $("subtitle").textContent = page.subtitle;
  $("selection").hidden = page.total === 0;
  keepingFocus(refill);
  controls();
  draw();
  if (table === null) return;
  tablePromise = null;  // the old rows stay on screen until the new ones are here
  loadTable().then(showTrials, () => null);
}

// Keep the plots (and their zoom) where the tab still has the same panels; only their contents are replaced.
function refill() {
  const tab = tabsNow().find(t => t.id === state.tab);
  const ids = tab ? tab.panels.map(p => p.id + Boolean(p.choices)).join() : "";
  if (ids !== [...drawn.values()].map(e => e.panel.id + Boolean(e.panel.choices)).join()) {
    delete $("panels").dataset.key;
    return;
  }
  $("panels").dataset.key = `${state.group}/${tab.id}`;
  for (const panel of tab.panels) {
    const entry = drawn.get(panel.id);
    entry.panel = panel;
    entry.choice = panel.choices ? Math.min(entry.choice, panel.choices.length - 1) : 0;
    fill(entry);
  }
}

function watch() {
  live.tag = page.tag || null;
  const pause = element("button", {type: "button", id: "pause", "aria-pressed": "false", onclick: () => {
    live.paused = !live.paused; pause.setAttribute("aria-pressed", String(live.paused)); pause.textContent = live.paused ? "Resume" : "Pause"; }}, "Pause");
  $("live").after(pause);
  $("live").hidden = false;
  // Amber when nothing has come for longer than twice the longest trial: then a sweep that runs should have ended one.
  const clock = () => {
    const age = Math.round((Date.now() - live.changed) / 1000);
    $("live").textContent = live.failed ? "server not reachable" : `${page.running}${live.launches && live.launches.trials ? `, ${live.launches.trials} running` : ""} · new rows ${age} s ago`;
    $("live").classList.toggle("stale", live.failed || age > page.longest_s);
  };
  // Two timers: the age goes on counting while the server is not reachable.
  setInterval(clock, 1000);
  setInterval(refresh, page.poll_ms);
  document.addEventListener("visibilitychange", refresh);
  clock();
  refresh();
}
prepare();
