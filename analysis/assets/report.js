// The report has no filters: this script only draws its figures in the colours of the mode.
const drawn = JSON.parse(document.getElementById("drawn").textContent);
let mode = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";

function resolve(node, names) {
  if (typeof node === "string" && node[0] === "@") {
    const [name, index] = node.slice(1).split(":");
    if (!(name in names)) return node;
    return index === undefined ? names[name] : names[name][index % names[name].length];
  }
  if (Array.isArray(node)) return node.map(child => resolve(child, names));
  if (node && typeof node === "object" && node.bdata === undefined)
    return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, resolve(value, names)]));
  return node;
}

function draw() {
  document.documentElement.classList.toggle("dark", mode === "dark");
  document.getElementById("dark").setAttribute("aria-pressed", String(mode === "dark"));
  for (const [id, figure] of Object.entries(drawn.figures)) {
    const node = document.getElementById(id), names = drawn.themes[Number(node.dataset.group)][mode];
    const {data, layout} = resolve(figure, names);
    Plotly.react(node, data, {...layout, dragmode: "zoom"}, drawn.config);
  }
}

document.getElementById("dark").onclick = () => { mode = mode === "dark" ? "light" : "dark"; draw(); };
document.getElementById("print").onclick = () => print();
function paperMode(on, screenMode) {
  mode = on ? "light" : screenMode;
  draw();
  fitToPaper(on);
}

addEventListener("beforeprint", () => {
  const screenMode = mode;
  paperMode(true);
  addEventListener("afterprint", () => paperMode(false, screenMode), {once: true});
});
document.getElementById("json").onclick = () => {
  const text = JSON.stringify(JSON.parse(document.getElementById("report").textContent), null, 1);
  const link = document.createElement("a");
  // A blob and no link to the file beside it: the report may have been sent without it.
  link.href = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  link.download = "fit.json";
  link.click();
};
draw();
document.documentElement.dataset.ready = "1";
