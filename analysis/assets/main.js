// Start.
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
  $("selection").hidden = page.total === 0;
  $("csv").onclick = async () => download("trials.csv", await csv(), "text/csv");
  $("more").onclick = () => { state.table.rows += 5 * TABLE_STEP; showTrials(); };
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
