// Figures have sizes of their own, which the style of print cannot reach: they are made as wide as the paper.
const PAPER_WIDTH = 660;  // CSS pixels inside a card on A4 paper with margins of half an inch, rounded down; letter paper is wider
function fitToPaper(on) {
  for (const node of document.querySelectorAll(".js-plotly-plot")) {
    if (!node._fullLayout) continue;  // emptied, as the curves are when nothing is selected
    Plotly.relayout(node, on ? {width: PAPER_WIDTH, height: 300, autosize: false} : {width: null, height: null, autosize: true});
  }
}
