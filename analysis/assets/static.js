"use strict";
const content = JSON.parse(document.getElementById("content").textContent);

async function drawAll() {
  const drawn = [];
  for (const {name, figure, taller} of content.figures) {
    const node = document.createElement("pre");
    node.dataset.name = name;
    try {
      node.textContent = await Plotly.toImage(figure, {...content.settings, height: content.settings.height + taller});
      node.dataset.ok = "1";
    } catch (error) {
      node.textContent = String(error);
      node.dataset.ok = "0";
    }
    drawn.push(node);
  }
  // The document is what comes back from the browser, so that it holds the pictures alone
  // (`analysis.dashboard.export.DRAWN`).
  document.body.replaceChildren(...drawn);
}
drawAll();
