"use strict";
// Drives the robot: twenty commands a second while this browser has the seat.
const PERIOD_MS = 50;
const ANSWER_MS = 1000;
const DEAD_ZONE = 0.1;
const root = document.getElementById("drive");
const csrf = root.dataset.csrf;
const seat = document.getElementById("seat");
const doing = document.getElementById("doing");
const sticks = document.getElementById("sticks");
const slider = document.querySelector("#speed input");
const KEYS = ["da", "ws", "eq", "rf", "tg", "uj", "ik", "ol"];
const SAYS = { " ": "take_over", h: "hand_back", y: "success", n: "failure",
  b: "left_out" };
let axes = Number(root.dataset.axes);
let turn = "";
let number = 0;
let stamp = 0;
let mine = false;
let said = [];
let stopping = false;
const pads = [];
const held = new Map(); // by button or key: component and direction

async function ask(path, fields) {
  const sent = fields === undefined ? {} : { method: "POST", redirect: "manual",
    body: new URLSearchParams({ csrf, ...fields }) };
  const signal = AbortSignal.timeout(ANSWER_MS);
  return fetch(path, { signal, cache: "no-store", ...sent });
}

function show(text, kind) {
  seat.textContent = text;
  seat.className = kind;
  sticks.classList.toggle("yours", mine);
}

async function take(answer) {
  if (answer.status === 401) { location.reload(); return false; }
  const told = answer.status === 200 || answer.status === 409
    ? await answer.json() : null;
  if (told === null) { show((await answer.text()).trim(), "wrong"); return false; }
  stamp = told.stamp;
  if (told.axes !== axes) { axes = told.axes; build(); }
  if (mine && told.seat !== "yours") { mine = false; said = []; release(); }
  doing.textContent = told.doing;
  if (told.refused) show(told.refused, "wrong");
  else if (told.seat === "yours") show("You drive.", "yours");
  else if (told.seat === "taken") show("Somebody else drives. You can stop.", "");
  else show(axes ? "Nobody drives from here." : "Nobody can drive from here.", "");
  return !told.refused;
}

function command(word) {
  const way = mine ? point() : [];
  return { turn, number: ++number, stamp, says: word,
    axes: way.map((one) => one.toFixed(3)).join(",") };
}

async function drive() {
  while (mine) {
    const begun = performance.now();
    try {
      await take(await ask("/drive", command(said.shift() || "")));
    } catch {
      show("No answer: the robot holds still.", "wrong");
    }
    const rest = PERIOD_MS - (performance.now() - begun);
    await new Promise((done) => setTimeout(done, Math.max(rest, 0)));
  }
}

let saying = false;
async function say(word) {
  if (mine) { said.push(word); return; }
  if (word === "hand_back" || saying || stopping) return;
  saying = true;
  turn = [...crypto.getRandomValues(new Uint8Array(8))]
    .map((one) => one.toString(16).padStart(2, "0")).join("");
  number = 0;
  try {
    // The robot's clock first, so that the command can say how old it is.
    if (!await take(await ask(`/driving?turn=${turn}`))) return;
    const heard = await take(await ask("/drive", command(word)));
    if (heard && word === "take_over" && !stopping) {
      mine = true;
      show("You drive.", "yours");
      drive();
    }
  } catch {
    show("No answer.", "wrong");
  } finally {
    saying = false;
  }
}

async function stop() {
  mine = false;
  said = [];
  release();
  if (stopping) return;
  stopping = true;
  show("Stops …", "wrong");
  while (stopping) {
    try {
      const answer = await ask("/robot", { says: "stopped", from: "drive" });
      if (answer.type === "opaqueredirect" || answer.ok) break;
      show((await answer.text()).trim(), "wrong");
      if (answer.status === 401 || answer.status === 403) location.reload();
    } catch {
      show("No answer: not stopped yet.", "wrong");
    }
    await new Promise((done) => setTimeout(done, 200));
  }
  stopping = false;
  look();
}

function leave() {
  if (!mine) return;
  const form = new URLSearchParams({ csrf, ...command("gone") });
  mine = false;
  release();
  navigator.sendBeacon("/drive", form);
  show("You left: the robot holds still.", "");
}

// Where sticks, buttons and keys point, each component from -1 to 1.
function point() {
  const found = new Array(axes).fill(0);
  for (const pad of pads) {
    if (pad.x !== null) found[pad.x] += pad.way[0];
    if (pad.y !== null) found[pad.y] += pad.way[1];
  }
  for (const [component, way] of held.values()) {
    if (component < axes) found[component] += way;
  }
  const speed = Number(slider.value) / 100;
  return found.map((one) => Math.min(Math.max(one, -1), 1) * speed);
}

function release() {
  held.clear();
  for (const pad of pads) { pad.way = [0, 0]; pad.thumb.style.transform = ""; }
  for (const one of sticks.querySelectorAll(".held")) one.classList.remove("held");
}

function element(parent, name, kind, text) {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = text;
  parent.append(made);
  return made;
}

function addPad(x, y) {
  const box = element(sticks, "div", "pad", "");
  const pad = { x, y, way: [0, 0], thumb: element(box, "i", "", "") };
  if (x !== null) element(box, "span", "x", `+${x}`);
  if (y !== null) element(box, "span", "y", `+${y}`);
  const bend = (value) => {
    const size = Math.max(Math.abs(value) - DEAD_ZONE, 0) / (1 - DEAD_ZONE);
    return Math.min(size, 1) * Math.sign(value);
  };
  const move = (event) => {
    const area = box.getBoundingClientRect();
    const reach = area.width / 2 * 0.64;
    let right = x === null ? 0 : (event.clientX - area.left - area.width / 2) / reach;
    let up = y === null ? 0 : (area.top + area.height / 2 - event.clientY) / reach;
    const length = Math.max(Math.hypot(right, up), 1);
    right /= length;
    up /= length;
    pad.way = [bend(right), bend(up)];
    pad.thumb.style.transform = `translate(${right * reach}px, ${-up * reach}px)`;
  };
  const letGo = () => { pad.way = [0, 0]; pad.thumb.style.transform = ""; };
  box.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    box.setPointerCapture(event.pointerId);
    move(event);
  });
  box.addEventListener("pointermove", (event) => {
    if (box.hasPointerCapture(event.pointerId)) move(event);
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    box.addEventListener(name, letGo);
  }
  pads.push(pad);
}

function addButtons(component) {
  const row = element(sticks, "div", "pair-of", "");
  for (const [sign, way] of [["−", -1], ["+", 1]]) {
    const button = element(row, "button", "", sign);
    button.type = "button";
    button.setAttribute("aria-label", `${sign} component ${component}`);
    const letGo = () => { held.delete(button); button.classList.remove("held"); };
    button.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      button.setPointerCapture(event.pointerId);
      held.set(button, [component, way]);
      button.classList.add("held");
    });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      button.addEventListener(name, letGo);
    }
    if (way < 0) element(row, "span", "", String(component));
  }
}

// As a gamepad has them: two sticks, the gripper on buttons, and a row for each more.
// A direction that the robot lacks is null.
function build() {
  release();
  sticks.replaceChildren();
  pads.length = 0;
  const there = (component) => (component < axes ? component : null);
  if (axes > 0) addPad(0, there(1));
  if (axes > 2) addPad(there(4), 2);
  for (let at = 3; at < axes; at += 1) if (at !== 4) addButtons(at);
}

function change(way) {
  slider.value = Number(slider.value) + way;
  slider.nextElementSibling.textContent = `${slider.value} %`;
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  const component = KEYS.findIndex((pair) => pair.includes(key));
  if (component < 0 && !SAYS[key] && !["x", "+", "=", "-"].includes(key)) return;
  event.preventDefault();
  if (component >= 0) {
    held.set(event.code, [component, key === KEYS[component][0] ? 1 : -1]);
  } else if (event.repeat) {
    return;
  } else if (key === "x") {
    stop();
  } else if (SAYS[key]) {
    say(SAYS[key]);
  } else {
    change(key === "-" ? -10 : 10);
  }
});
addEventListener("keyup", (event) => {
  held.delete(event.code);
  if (event.key === " ") event.preventDefault();
});
addEventListener("blur", release);
addEventListener("pagehide", leave);
document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); });
slider.addEventListener("input", () => change(0));
document.getElementById("stop").addEventListener("submit", (event) => {
  event.preventDefault();
  stop();
});
for (const button of document.querySelectorAll("[data-says]")) {
  button.addEventListener("click", () => say(button.dataset.says));
}
document.querySelector("form:not(#stop)").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await ask("/robot", { says: event.submitter.value, from: "drive" });
  } catch {
    show("No answer.", "wrong");
  }
});

async function look() {
  if (mine || stopping || document.hidden) return;
  try {
    await take(await ask(`/driving?turn=${turn}`));
  } catch {
    show("The robot does not answer.", "wrong");
  }
}
build();
look();
setInterval(look, 1000);
