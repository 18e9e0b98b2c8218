// What both editors share: the photo, the face square, how the layers lie over each other, the way to the server.
function draw(editor) {
  const pen = editor.canvas.getContext("2d");
  const { width, height } = editor.canvas;
  pen.clearRect(0, 0, width, height);
  if (!board.photo) return;
  pen.drawImage(board.photo, 0, 0, width, height);
  const { mask, sketch } = board.editors;
  if (!mask || !sketch) return;
  const isMask = editor.role === "mask";
  pen.globalAlpha = isMask ? 0.5 : 0.32;
  pen.drawImage(mask.layer, 0, 0);
  pen.globalAlpha = isMask ? 0.55 : 1;
  // Ink outside of the hole is ignored, so it is grey.
  const ink = makeCanvas();
  const inkPen = ink.getContext("2d");
  inkPen.drawImage(sketch.layer, 0, 0);
  inkPen.globalCompositeOperation = "source-in";
  inkPen.fillStyle = "#9aa0ab";
  inkPen.fillRect(0, 0, width, height);
  pen.drawImage(ink, 0, 0);
  inkPen.globalCompositeOperation = "copy";
  inkPen.drawImage(sketch.layer, 0, 0);
  inkPen.globalCompositeOperation = "destination-in";
  inkPen.drawImage(mask.layer, 0, 0);
  pen.drawImage(ink, 0, 0);
  pen.globalAlpha = 1;
  drawSquare(pen, width);
}

function drawSquare(pen, width) {
  const thickness = Math.max(1.5, width / 400);
  const [left, top, side] = board.box.map((value) => value * board.scale);
  for (const [color, offset] of [["rgba(0, 0, 0, .65)", 0], ["rgba(255, 255, 255, .95)", thickness * 4]]) {
    pen.setLineDash([thickness * 4, thickness * 4]);
    pen.lineDashOffset = offset;
    pen.lineWidth = thickness;
    pen.strokeStyle = color;
    pen.strokeRect(left + thickness / 2, top + thickness / 2, side - thickness, side - thickness);
  }
  pen.setLineDash([]);
}

function renderAll() {
  for (const editor of Object.values(board.editors)) editor.render();
}

function moveSquare(left, top, side) {
  const inside = (value, most) => Math.min(most - side / 4, Math.max(-0.75 * side, value));
  board.box = [Math.round(inside(left, board.width)), Math.round(inside(top, board.height)), Math.round(side)];
  board.moved = true;
  board.onchange();
  renderAll();
}

function loadImage(url) {
  return new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = failed;
    image.src = url;
  });
}

function setStale(isStale) {
  document.querySelectorAll(".dps-results").forEach((part) => part.classList.toggle("dps-stale", isStale));
}

board.onchange = () => setStale(true);

window.dps = {
  editors: board.editors,

  attach(element) {
    const root = element.querySelector("[data-layer]");
    board.editors[root.dataset.layer] = new LayerEditor(root, root.dataset.layer);
  },

  // A photo or an edit was opened.
  async open(opened) {
    if (!opened || !opened.photo || opened.token === board.token) return;
    board.token = opened.token;
    const long = Math.max(opened.width, opened.height);
    board.photo = await loadImage(opened.photo);
    [board.width, board.height, board.box, board.moved] = [opened.width, opened.height, opened.box, false];
    board.scale = long > CANVAS_PX ? CANVAS_PX / long : long < SMALLEST_CANVAS_PX ? SMALLEST_CANVAS_PX / long : 1;
    for (const editor of Object.values(board.editors)) {
      editor.penWidth = null;
      if (editor.tool !== "pen") editor.press("pen");
      editor.reset();
    }
    for (const [role, layer] of Object.entries(opened.layers)) await this.put({ role, ...layer });
    setStale(false);
    renderAll();
    requestAnimationFrame(() => Object.values(board.editors).forEach((editor) => {
      editor.lookAtSquare();
      editor.root.dataset.opened = opened.token;
    }));
  },

  // A mask or a sketch was uploaded.
  async put(layer) {
    if (!layer || !layer.id) return;
    const editor = board.editors[layer.role];
    if (editor.steps.some((step) => step.id === layer.id) || editor.undone.some((step) => step.id === layer.id)) return;
    const picture = tint(await loadImage(layer.url), COLOR[layer.role]);
    editor.add({ kind: "file", id: layer.id, picture });
  },

  // What the server paints.
  drawing() {
    const steps = (role) => (board.editors[role] ? board.editors[role].steps : []).map((step) => {
      const { picture, ...sent } = step;
      return sent;
    });
    return JSON.stringify({ mask: steps("mask"), sketch: steps("sketch"), box: board.moved ? board.box : null });
  },

  start() {
    setStale(false);
    return this.drawing();
  },

  level() {
    const range = document.querySelector("#dps-level input[type=range]");
    return range ? Number(range.value) : 0.5;
  },

  save(file) {
    const saved = Array.isArray(file) ? file[0] : file;
    if (!saved || !saved.url) return;
    const link = document.createElement("a");
    link.href = saved.url;
    link.download = saved.orig_name || "edit";
    document.body.append(link);
    link.click();
    link.remove();
  },
};

document.addEventListener("input", (event) => {
  if (event.target.matches(".dps-compare input[type=range]")) {
    event.target.closest(".dps-compare").style.setProperty("--cut", `${event.target.value}%`);
  } else if (event.target.matches("#dps-level input[type=range]")) {
    const output = event.target.parentElement.querySelector("output");
    if (output) output.textContent = Number(event.target.value).toFixed(2);
  }
});
