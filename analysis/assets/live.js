// The served page asks for changes every few seconds; the server answers 304 when there are none.
const live = {tag: null, paused: false, changed: Date.now(), failed: false};

async function refresh() {
  if (live.paused || document.hidden) return;
  let answer;
  try {
    answer = await fetch("data.json", {cache: "no-store", headers: live.tag ? {"If-None-Match": live.tag} : {}});
  } catch (error) {
    live.failed = true;
    return;
  }
  live.failed = answer.status !== 200 && answer.status !== 304;
  if (answer.status !== 200) return;
  live.tag = answer.headers.get("ETag");
  adopt(unpack(await answer.json()));
}

function adopt(fresh) {
  const label = group() && group().label, ids = new Set(state.selected ? [...state.selected].map(i => group().trials.id[i]) : []);
  const open = state.pinned !== null ? group().trials.id[state.pinned] : null;
  page = fresh;
  live.changed = Date.now();
  state.group = Math.max(0, page.groups.findIndex(g => g.label === label));
  state.selected = null;
  state.pinned = null;
  const g = group();
  if (g) {
    const chosen = new Set();
    g.trials.id.forEach((id, i) => { if (ids.has(id)) chosen.add(i); if (id === open) state.pinned = i; });
    if (chosen.size) state.selected = chosen;
  }
  defaults();
  $("subtitle").textContent = page.subtitle;
  $("selection").hidden = page.runs.id.length === 0;
  refill();
  controls();
  draw();
}

// Keep the plots (and their zoom) where the tab has the same panels; only their figures are replaced.
function refill() {
  const tab = tabsNow().find(t => t.id === state.tab);
  const same = tab && tab.panels.filter(p => p.choices).every(p => drawn.has(p.id)) && tab.panels.filter(p => p.choices).length === drawn.size;
  if (!same || tab.panels.some(p => !p.choices)) {
    const zoom = new Map([...drawn].map(([id, e]) => [id, e.node._fullLayout ? [e.node.layout.xaxis, e.node.layout.yaxis] : null]));
    delete $("panels").dataset.key;
    state.view.zoom = zoom;
    return;
  }
  for (const panel of tab.panels) if (drawn.has(panel.id)) drawn.get(panel.id).panel = panel;
}

function watch() {
  const pause = element("button", {type: "button", id: "pause", "aria-pressed": "false", onclick: () => {
    live.paused = !live.paused; pause.setAttribute("aria-pressed", String(live.paused)); pause.textContent = live.paused ? "Resume" : "Pause"; }}, "Pause");
  $("live").after(pause);
  $("live").hidden = false;
  const clock = () => {
    const age = Math.round((Date.now() - live.changed) / 1000);
    $("live").textContent = live.failed ? "server not reachable" : `${page.running} · new rows ${age} s ago`;
    $("live").classList.toggle("stale", live.failed || age > page.longest_s);
  };
  setInterval(clock, 1000);
  setInterval(refresh, page.poll_ms);
  document.addEventListener("visibilitychange", refresh);
  clock();
  refresh();
}
start();
