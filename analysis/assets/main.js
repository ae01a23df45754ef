// Start.
const NARROW = "screen and (max-width: 760px)";  // as in page.css
function defaults() {
  const g = group();
  // A link may name a tab that this page has not.
  if (!tabsNow().some(tab => tab.id === state.tab)) state.tab = tabsNow()[0].id;
  // Curves of several connectivities would cover each other, so the page begins with the one that most rows have.
  if (state.kc === undefined) state.kc = g && g.k_cs.length > 1 ? g.k_cs[0] : null;
}

function paint() {
  document.documentElement.classList.toggle("dark", state.mode === "dark");
  $("dark").setAttribute("aria-pressed", state.mode === "dark" ? "true" : "false");
}

// On a narrow screen the answer comes first, and the filters fold behind a line that says what they let through.
function arrange(narrow) {
  narrow ? $("headline").after($("answer")) : $("notice").after($("answer"));
  $("fold").open = !narrow;
}

// The style of print cannot reach the colours of figures: they are drawn for the paper.
function paperMode(on) {
  if (on) state.view.screenMode = state.mode;
  state.mode = on ? "light" : state.view.screenMode;
  paint();
  draw();
  fitToPaper(on);
}

// What needs no figures comes before Plotly, which takes a browser a second to read: the answer is then on the screen.
function prepare() {
  page = unpack(JSON.parse($("payload").textContent));
  readHash();
  if (state.mode === null) state.mode = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  defaults();
  paint();
  const width = matchMedia(NARROW);
  arrange(width.matches);
  width.addEventListener("change", () => arrange(width.matches));
  $("subtitle").textContent = page.subtitle;
  answer(group());
  performance.mark("answer");  // for the benchmark
}

function start() {
  $("provenance").replaceChildren(...page.provenance.map(line => element("li", {}, line)));
  $("selection").hidden = page.total === 0;
  $("csv").onclick = async () => download("trials.csv", await csv(), "text/csv");
  $("more").onclick = () => { state.table.rows += 5 * TABLE_STEP; showTrials(); };
  $("link").onclick = async () => { await navigator.clipboard.writeText(location.href); $("link").textContent = "Copied"; setTimeout(() => { $("link").textContent = "Link"; }, 1500); };
  $("clear").onclick = clearSelection;
  $("print").onclick = () => print();
  addEventListener("beforeprint", () => paperMode(true));
  addEventListener("afterprint", () => paperMode(false));
  $("dark").onclick = () => { state.mode = state.mode === "dark" ? "light" : "dark"; paint(); controls(); draw(); };
  addEventListener("keydown", event => { if (event.key === "Escape") clearSelection(); });
  controls();
  draw();
  if (page.live) watch();
  // Two frames later the first one has been painted; tests and the benchmark wait for this mark.
  requestAnimationFrame(() => requestAnimationFrame(() => { window.__ready = performance.now(); document.documentElement.dataset.ready = "1"; }));
}
