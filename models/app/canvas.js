// Two editors, one pen each. Each keeps its own list of steps in px of the photo; only the lists are sent.
const CANVAS_PX = 1600;
const SMALLEST_CANVAS_PX = 1024;
const COLOR = { mask: "#e5484d", sketch: "#12141a" };
const PEN = { mask: 0.1, sketch: 0.012 };
const WORDS = { mask: { pen: "Brush", clear: "Clear" }, sketch: { pen: "Pen", clear: "Clear" } };
const board = { photo: null, width: 0, height: 0, scale: 1, box: null, moved: false, editors: {}, onchange: () => {} };

function makeCanvas() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = board.photo
    ? [board.width, board.height].map((px) => Math.max(1, Math.round(px * board.scale)))
    : [SMALLEST_CANVAS_PX, 640];
  return canvas;
}

// White on black becomes the layer's colour on nothing.
function tint(image, color) {
  const canvas = makeCanvas();
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
  for (let at = 0; at < pixels.data.length; at += 4) {
    pixels.data[at + 3] = pixels.data[at];
    pixels.data[at] = red;
    pixels.data[at + 1] = green;
    pixels.data[at + 2] = blue;
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

class LayerEditor {
  constructor(root, role) {
    this.role = role;
    this.root = root;
    this.steps = [];
    this.undone = [];
    this.tool = "pen";
    this.zoom = 1;
    this.stroke = null;
    this.build();
    this.reset();
  }

  build() {
    const button = (name, text, title) =>
      `<button type="button" data-do="${name}" title="${title}">${text}</button>`;
    const isMask = this.role === "mask";
    this.root.innerHTML = `
      <div class="dps-tools" role="toolbar" aria-label="${isMask ? "Tools of the hole" : "Tools of the line"}">
        <span class="dps-group">${button("pen", WORDS[this.role].pen, isMask ? "Paint the hole" : "Draw the line")}
        ${button("eraser", "Eraser", "Take paint away")}${button("hand", "Move", "Drag the picture when it is zoomed in")}
        ${isMask ? button("square", "Face square", "Drag the dashed square over the face") : ""}</span>
        <span class="dps-group">${button("undo", "Undo", "Undo (Ctrl+Z)")}${button("redo", "Redo", "Redo (Ctrl+Shift+Z)")}
        ${button("clear", WORDS[this.role].clear, "Take everything away; Undo brings it back")}
        ${isMask ? button("invert", "Invert", "Swap painted and not painted") : ""}</span>
        <span class="dps-group">${button("out", "−", "Zoom out")}${button("in", "+", "Zoom in")}${button("fit", "Whole photo", "Show the whole photo")}</span>
        <label class="dps-width"><span>Width</span><input type="range" min="0" max="100" step="1" aria-label="Width of the pen"></label>
      </div>
      <div class="dps-stage"><div class="dps-view"><canvas tabindex="0"
        aria-label="${isMask ? "Photo: paint the hole here" : "Photo: draw the line here"}"></canvas></div>
        <p class="dps-empty">Choose a photo, or take the sample.</p></div>`;
    this.view = this.root.querySelector(".dps-view");
    this.canvas = this.root.querySelector("canvas");
    this.range = this.root.querySelector("input[type=range]");
    this.range.addEventListener("input", () => this.setWidth());
    this.root.addEventListener("click", (event) => {
      const pressed = event.target.closest("[data-do]");
      if (pressed) this.press(pressed.dataset.do);
    });
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("pointerdown", (event) => this.down(event));
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, () => this.up());
    this.canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.setZoom(this.zoom * (event.deltaY < 0 ? 1.25 : 0.8));
    }, { passive: false });
    this.showTool();
  }

  reset() {
    this.steps = [];
    this.undone = [];
    this.layer = makeCanvas();
    this.canvas.width = this.layer.width;
    this.canvas.height = this.layer.height;
    this.root.classList.toggle("dps-open", board.photo !== null);
    this.setZoom(1);
    this.range.value = this.tool === "square" ? this.range.value : this.position(this.penWidth || PEN[this.role] * this.side());
    this.setWidth();
  }

  side() {
    return board.box ? board.box[2] : 256;
  }

  // The range runs over pen widths by ratio, from 1/200 to 2/5 of the face square.
  position(width) {
    return (100 * Math.log((200 * width) / this.side())) / Math.log(80);
  }

  setWidth() {
    if (this.tool === "square") {
      if (!board.box) return;
      const [left, top, side] = board.box;
      const next = Math.max(8, (Math.max(board.width, board.height) * (10 + 1.4 * this.range.value)) / 100);
      moveSquare(left + (side - next) / 2, top + (side - next) / 2, next);
      return;
    }
    const share = Math.pow(80, this.range.value / 100) / 200;
    this.penWidth = Math.max(1, Math.round(10 * share * this.side()) / 10);
    this.render();
  }

  press(name) {
    if (["pen", "eraser", "hand", "square"].includes(name)) {
      this.tool = name;
      this.range.value = name !== "square" ? this.position(this.penWidth)
        : (100 * this.side() / Math.max(1, board.width, board.height) - 10) / 1.4;
      this.showTool();
    } else if (!board.photo) return;
    else if (name === "undo" && this.steps.length) this.step(() => this.undone.push(this.steps.pop()));
    else if (name === "redo" && this.undone.length) this.step(() => this.steps.push(this.undone.pop()));
    else if (name === "clear" && this.steps.length) this.add({ kind: "clear" });
    else if (name === "invert") this.add({ kind: "invert" });
    else if (name === "in") this.setZoom(this.zoom * 1.5);
    else if (name === "fit") this.setZoom(1);
    else if (name === "out") this.setZoom(this.zoom / 1.5);
    this.render();
  }

  showTool() {
    for (const name of ["pen", "eraser", "hand", "square"]) {
      const button = this.root.querySelector(`[data-do=${name}]`);
      if (button) button.setAttribute("aria-pressed", String(this.tool === name));
    }
    this.root.querySelector(".dps-width span").textContent = this.tool === "square" ? "Size" : "Width";
    this.canvas.style.touchAction = this.tool === "hand" ? "auto" : "none";
    this.canvas.dataset.tool = this.tool;
  }

  key(event) {
    const isUndo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    if (!isUndo) return;
    event.preventDefault();
    this.press(event.shiftKey ? "redo" : "undo");
  }

  step(change) {
    change();
    this.replay();
    board.onchange();
  }

  add(step) {
    this.step(() => {
      this.steps.push(step);
      this.undone = [];
    });
    renderAll();
  }

  setZoom(zoom) {
    const view = this.view;
    const middle = [(view.scrollLeft + view.clientWidth / 2) / this.zoom, (view.scrollTop + view.clientHeight / 2) / this.zoom];
    this.zoom = Math.min(8, Math.max(1, zoom));
    this.canvas.style.setProperty("--zoom", this.zoom);
    this.canvas.style.setProperty("--aspect", this.canvas.width / this.canvas.height);
    this.root.querySelector("[data-do=out]").disabled = this.zoom === 1;
    view.scrollLeft = middle[0] * this.zoom - view.clientWidth / 2;
    view.scrollTop = middle[1] * this.zoom - view.clientHeight / 2;
  }

  // The face square fills the most of the view.
  lookAtSquare() {
    if (!board.box) return;
    const [left, top, side] = board.box;
    const fit = Math.min(this.view.clientWidth / board.width, this.view.clientHeight / board.height);
    this.setZoom((0.8 * Math.min(this.view.clientWidth, this.view.clientHeight)) / (side * fit));
    const step = this.canvas.clientWidth / board.width;
    this.view.scrollLeft = (left + side / 2) * step - this.view.clientWidth / 2;
    this.view.scrollTop = (top + side / 2) * step - this.view.clientHeight / 2;
  }

  point(event) {
    const place = this.canvas.getBoundingClientRect();
    return [
      Math.round((10 * (event.clientX - place.left) * board.width) / place.width) / 10,
      Math.round((10 * (event.clientY - place.top) * board.height) / place.height) / 10,
    ];
  }

  down(event) {
    if (!board.photo || event.button !== 0 || this.stroke || this.drag) return;
    this.canvas.setPointerCapture(event.pointerId);
    if (this.tool === "pen" || this.tool === "eraser") {
      this.stroke = { kind: "stroke", erase: this.tool === "eraser", width: this.penWidth, points: this.point(event) };
      this.paint(this.stroke);
    } else {
      this.drag = { from: this.point(event), box: board.box, x: event.clientX, y: event.clientY };
    }
    this.pointer = event.pointerId;
    this.render();
  }

  move(event) {
    if (event.pointerId !== this.pointer) return;
    if (this.stroke) {
      const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      for (const one of events.length ? events : [event]) this.stroke.points.push(...this.point(one));
      this.paint(this.stroke);
      this.render();
    } else if (this.drag && this.tool === "square" && this.drag.box) {
      const [x, y] = this.point(event);
      const [left, top, side] = this.drag.box;
      moveSquare(left + x - this.drag.from[0], top + y - this.drag.from[1], side);
    } else if (this.drag && this.tool === "hand" && event.pointerType === "mouse") {
      this.view.scrollLeft -= event.clientX - this.drag.x;
      this.view.scrollTop -= event.clientY - this.drag.y;
      [this.drag.x, this.drag.y] = [event.clientX, event.clientY];
    }
  }

  up() {
    this.pointer = null;
    this.drag = null;
    if (!this.stroke) return;
    const step = this.stroke;
    this.stroke = null;
    this.add(step);
  }

  paint(step) {
    const pen = this.layer.getContext("2d");
    const points = step.points;
    pen.globalCompositeOperation = step.erase ? "destination-out" : "source-over";
    pen.strokeStyle = COLOR[this.role];
    pen.lineWidth = step.width * board.scale;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(points[0] * board.scale, points[1] * board.scale);
    if (points.length === 2) pen.lineTo(points[0] * board.scale + 0.01, points[1] * board.scale);
    for (let at = 2; at < points.length; at += 2) pen.lineTo(points[at] * board.scale, points[at + 1] * board.scale);
    pen.stroke();
    pen.globalCompositeOperation = "source-over";
  }

  replay() {
    const { width, height } = this.layer;
    const pen = this.layer.getContext("2d");
    pen.clearRect(0, 0, width, height);
    for (const step of this.steps) {
      if (step.kind === "stroke") this.paint(step);
      else if (step.kind === "invert") {
        pen.globalCompositeOperation = "xor";
        pen.fillStyle = COLOR[this.role];
        pen.fillRect(0, 0, width, height);
        pen.globalCompositeOperation = "source-over";
      } else {
        pen.clearRect(0, 0, width, height);
        if (step.picture) pen.drawImage(step.picture, 0, 0);
      }
    }
    renderAll();
  }

  render() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      draw(this);
    });
    for (const [name, list] of [["undo", this.steps], ["redo", this.undone], ["clear", this.steps]]) {
      this.root.querySelector(`[data-do=${name}]`).disabled = !list.length;
    }
  }
}
