"use strict";
// Numbers come from Python; this file only unpacks them.
const TYPES = {f8: Float64Array, f4: Float32Array, i4: Int32Array, u4: Uint32Array, u2: Uint16Array, u1: Uint8Array};

function bytesOf(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

function numbers(node) {
  return node && node.bdata !== undefined ? new TYPES[node.dtype](bytesOf(node.bdata).buffer) : node;
}

function unpack(payload) {
  for (const group of payload.groups) {
    for (const table of [group.trials, group.configurations]) {
      for (const name of Object.keys(table)) table[name] = numbers(table[name]);
    }
    const of = group.trials.configuration;
    // What belongs to a configuration is stored once for all of its trials.
    group.column = name => name in group.trials ? i => group.trials[name][i] : i => group.configurations[name][of[i]];
    group.count = of.length;
    group.place = new Map(group.trials.id.map((id, i) => [id, i]));
  }
  return payload;
}

async function inflate(text) {
  // The browser's own decompression, so that no library for it has to be shipped.
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function digits(value, figures = 5) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (typeof value === "string") return value;
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  return size >= 1e-4 && size < 1e6 ? String(Number(value.toPrecision(figures))) : value.toExponential(3);
}

function short(value) {
  for (const [limit, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (Math.abs(value) >= limit) return Number((value / limit).toPrecision(3)) + unit;
  return String(Number(value.toPrecision(3)));
}

// Ticks of a logarithmic axis of small numbers: Plotly labels them 5, 0.01, 2, which nobody can read.
function logTicks(values) {
  const low = Math.min(...values), high = Math.max(...values), vals = [];
  const steps = high / low > 300 ? [1] : high / low > 12 ? [1, 3] : [1, 1.5, 2, 3, 5, 7];
  for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.ceil(Math.log10(high)); power++)
    for (const step of steps) vals.push(step * 10 ** power);
  return {tickmode: "array", tickvals: vals, ticktext: vals.map(value => value >= 1e-4 ? short(value) : value.toExponential(0))};
}

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    // An attribute that is absent is false, as in HTML; setting it to "false" would switch it on.
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  // Appended as text nodes and never parsed as HTML: names of trials, tasks and errors come from users.
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
}
