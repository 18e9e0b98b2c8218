"use strict";
// Blind pairs: order and sides are drawn for each voter; the methods are not in this file.
const data = document.getElementById("data");
const study = data.dataset.study;
const pairs = JSON.parse(data.textContent);
const part = (id) => document.getElementById(id);

/** Numbers in [0, 1) from a seed (mulberry32). */
const makeDraw = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
};

const begin = () => {
  const [seed, ...name] = crypto.getRandomValues(new Uint32Array(4));
  return { voter: name.map((word) => word.toString(16).padStart(8, "0")).join(""), seed, votes: [] };
};

const place = `dps-vote-${study}`;
let state = begin();
try {
  const kept = JSON.parse(localStorage.getItem(place) ?? "null");
  if (kept && typeof kept.voter === "string" && Array.isArray(kept.votes)) state = kept;
} catch { /* no storage: votes live as long as the page */ }
const keep = () => {
  try { localStorage.setItem(place, JSON.stringify(state)); } catch { /* as above */ }
};

const draw = makeDraw(state.seed);
const turns = pairs.map((_, pair) => ({ pair, swapped: draw() < 0.5 }));
for (let last = turns.length - 1; last > 0; last -= 1) {
  const other = Math.floor(draw() * (last + 1));
  [turns[last], turns[other]] = [turns[other], turns[last]];
}

let since = performance.now();
const show = () => {
  const count = state.votes.length;
  const isDone = count >= turns.length;
  part("vote").hidden = isDone;
  part("done").hidden = !isDone;
  part("back").disabled = count === 0;
  document.querySelector("progress").value = count / turns.length;
  part("place").textContent = isDone ? `${count} of ${count} pairs` : `Pair ${count + 1} of ${turns.length}`;
  if (isDone) return;
  const { pair, swapped } = turns[count];
  const [given, a, b] = pairs[pair].map((text) => `data:image/jpeg;base64,${text}`);
  part("given").src = given;
  part("left").querySelector("img").src = swapped ? b : a;
  part("right").querySelector("img").src = swapped ? a : b;
  since = performance.now();
};

const choose = (side) => {
  const turn = turns[state.votes.length];
  if (!turn) return;
  const choice = side === "equal" ? side : (side === "left") === turn.swapped ? "b" : "a";
  const seconds = Math.round((performance.now() - since) / 100) / 10;
  state.votes.push({ pair: turn.pair, choice, shown: turn.swapped ? "ba" : "ab", seconds });
  keep();
  show();
};

const goBack = () => {
  state.votes.pop();
  keep();
  show();
};

const save = () => {
  const text = JSON.stringify({ schema: "dps-vote-1", study, ...state }, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `votes-${state.voter.slice(0, 8)}.json`;
  link.click();
};

for (const side of ["left", "right", "equal"]) part(side).addEventListener("click", () => choose(side));
for (const id of ["back", "last"]) part(id).addEventListener("click", goBack);
for (const button of document.querySelectorAll(".save")) button.addEventListener("click", save);
const keys = { 1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", 0: "equal", ArrowDown: "equal" };
addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Backspace") goBack();
  else if (keys[event.key]) choose(keys[event.key]);
  else return;
  event.preventDefault();
});
show();
