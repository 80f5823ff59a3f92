"use strict";
// Refreshes what the robot does, once a second while somebody looks.
const list = document.getElementById("status");
const stale = document.getElementById("stale");

function show(rows) {
  const fresh = [];
  for (const [name, text] of rows) {
    const term = document.createElement("dt");
    const told = document.createElement("dd");
    term.textContent = name;
    told.textContent = text;
    fresh.push(term, told);
  }
  list.replaceChildren(...fresh);
}

async function refresh() {
  if (!document.hidden) {
    try {
      const answer = await fetch("/status", { signal: AbortSignal.timeout(4000) });
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      show((await answer.json()).rows);
      stale.hidden = true;
      list.classList.remove("old");
    } catch {
      stale.hidden = false;
      list.classList.add("old");
    }
  }
  setTimeout(refresh, 1000);
}
setTimeout(refresh, 1000);
