"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const range = document.getElementById("step");
const told = document.getElementById("told");
const play = document.getElementById("play");
const images = document.querySelectorAll("img.now");
const lines = document.querySelectorAll("line");
const values = [...document.querySelectorAll("figcaption output[data-group]")];

function floats(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k++) bytes[k] = raw.charCodeAt(k);
  return new Float32Array(bytes.buffer);
}
const groups = {};
for (const [name, group] of Object.entries(data.groups))
  groups[name] = { size: group.size, values: floats(group.values) };
const times = floats(data.times);

function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? String(+value.toPrecision(4))
    : value.toExponential(2);
}
function marked(runs, step) {
  return runs.some(([first, last]) => first <= step && step <= last);
}
function show(step) {
  step = Math.max(0, Math.min(data.steps - 1, Math.round(step)));
  range.value = step;
  const kept = Math.floor(step / data.every);
  const parts = [`step ${step + 1} of ${data.steps}`, `${times[kept].toFixed(2)} s`];
  for (const [text, runs] of data.marks) if (marked(runs, step)) parts.push(text);
  if (data.every > 1) parts.push(`values of step ${kept * data.every + 1}`);
  told.textContent = parts.join(" · ");
  const x = data.steps > 1 ? 1000 * step / (data.steps - 1) : 0;
  for (const line of lines) {
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
  }
  for (const output of values) {
    const group = groups[output.dataset.group];
    const at = kept * group.size + Number(output.dataset.channel);
    let text = short(group.values[at]);
    const other = groups[output.dataset.other];
    if (other && other.values[at] !== group.values[at])
      text += ` (${short(other.values[at])})`;
    output.textContent = text;
  }
  for (const image of images) {
    const pictures = data.pictures[Number(image.dataset.camera)];
    const picture = pictures[Math.floor(step / data.picture_every)];
    image.src = picture ? "data:image/jpeg;base64," + picture : "";
  }
}
range.addEventListener("input", () => { stop(); show(Number(range.value)); });
for (const svg of document.querySelectorAll("svg")) {
  const go = (event) => {
    const box = svg.getBoundingClientRect();
    stop();
    show((event.clientX - box.left) / box.width * (data.steps - 1));
  };
  svg.addEventListener("pointerdown", go);
  svg.addEventListener("pointermove", (event) => { if (event.buttons) go(event); });
}
let playing = null;
function stop() {
  if (playing !== null) cancelAnimationFrame(playing);
  playing = null;
  play.textContent = "play";
}
function start() {
  let step = Number(range.value);
  if (step >= data.steps - 1) step = 0;
  const rate = data.steps > 1 && data.seconds > 0
    ? (data.steps - 1) / data.seconds : 20;
  const from = performance.now();
  const tick = (now) => {
    const at = step + (now - from) / 1000 * rate;
    show(at);
    if (at >= data.steps - 1) stop(); else playing = requestAnimationFrame(tick);
  };
  play.textContent = "pause";
  playing = requestAnimationFrame(tick);
}
play.addEventListener("click", () => playing === null ? start() : stop());
document.addEventListener("keydown", (event) => {
  if (event.target === range || event.target === play) return;
  const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -50, PageDown: 50 }[event.key];
  if (by && !event.altKey && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    stop();
    show(Number(range.value) + by);
  }
});
show(0);
