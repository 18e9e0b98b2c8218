"use strict";
// The page is whole without this: it sorts tables, opens the part that a link leads to, and shows pictures large.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = table.tHead.rows[table.tHead.rows.length - 1].cells;
  const body = table.tBodies[0];
  const first = Array.from(body.rows);
  Array.from(heads).forEach((head, column) => {
    const button = document.createElement("span");
    button.className = "sort";
    button.tabIndex = 0;
    button.setAttribute("role", "button");
    button.append(...head.childNodes);
    head.append(button);
    const sort = () => {
      const was = head.getAttribute("aria-sort");
      const next = was === "ascending" ? "descending" : was === "descending" ? null : "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      if (next) head.setAttribute("aria-sort", next);
      const sign = next === "descending" ? -1 : 1;
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const compare = (a, b) => {
        const [left, right] = [key(a), key(b)];
        if (left === "" || right === "") return (left === "") - (right === "");
        const [x, y] = [Number(left), Number(right)];
        return sign * (Number.isNaN(x) || Number.isNaN(y) ? left.localeCompare(right) : x - y);
      };
      body.append(...(next ? [...first].sort(compare) : first));
    };
    button.addEventListener("click", sort);
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort();
    });
  });
}
const openPart = () => {
  const part = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!part) return;
  for (let box = part; box; box = box.parentElement) if (box.tagName === "DETAILS") box.open = true;
  part.scrollIntoView();
};
addEventListener("hashchange", openPart);
openPart();

const large = document.getElementById("large");
const strips = Array.from(document.querySelectorAll(".strip"), (strip) => Array.from(strip.querySelectorAll(".zoom img")));
const shown = large.appendChild(new Image());
let [row, place] = [0, 0];
const show = (nextRow, nextPlace) => {
  row = (nextRow + strips.length) % strips.length;
  place = (nextPlace + strips[row].length) % strips[row].length;
  const picture = strips[row][place];
  shown.src = picture.src;
  shown.alt = large.querySelector("b").textContent = picture.alt;
};
strips.forEach((pictures, number) => pictures.forEach((picture, index) => {
  picture.parentElement.addEventListener("click", () => {
    show(number, index);
    large.showModal();
  });
}));
large.addEventListener("click", () => large.close());
large.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!steps) return;
  event.preventDefault();
  show(row + steps[0], place + steps[1]);
});
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
