/** The drawing area: strokes by mouse, pen or finger, or a picture with a box and a label for each digit found on it. */

const ASPECT_RATIO = 3 / 4; // height by width, as in main.css
const PEN_WIDTH = 0.04; // in widths of the canvas
const UPLOAD_WIDTH = 400; // pixels of the canvas's width; the upload is cut to the ink and its margin
const UPLOAD_MARGIN = 0.1; // in widths of the canvas
const LABEL_SIDES = [10, 18]; // minimum and maximum height of a label, in CSS pixels
const LABEL_HEIGHT = 0.4; // in heights of the digit's box

export class DrawingPad {
  #canvas;
  #callbacks;
  #strokes = []; // each a list of points [x, y], in widths of the canvas
  #stroke = null;
  #picture = null;
  #predictions = [];
  #selected = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {object} callbacks
   * @param {() => void} callbacks.onPress called when a stroke begins: it has no length yet
   * @param {() => void} callbacks.onChange called when the drawing has changed: by a move, a click, undo or clear
   * @param {() => void} callbacks.onRelease called when a stroke has ended
   */
  constructor(canvas, callbacks) {
    this.#canvas = canvas;
    this.#callbacks = callbacks;
    canvas.addEventListener("pointerdown", (event) => this.#startStroke(event));
    canvas.addEventListener("pointermove", (event) => this.#extendStroke(event));
    canvas.addEventListener("pointerup", (event) => this.#endStroke(event));
    canvas.addEventListener("pointercancel", (event) => this.#cancelStroke(event));
    new ResizeObserver(() => this.#paint()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#paint());
  }

  /** Whether there is neither a stroke nor a picture. */
  get isEmpty() {
    return !this.#strokes.length && !this.#picture;
  }

  get strokeCount() {
    return this.#strokes.length;
  }

  /** Remove the last stroke. */
  undo() {
    this.#strokes.pop();
    this.#drawingChanged();
  }

  /** Remove all strokes, or the picture. */
  clear() {
    this.#reset();
    this.#drawingChanged();
  }

  /**
   * Show a picture in place of a drawing.
   *
   * @param {ImageBitmap?} picture null if the browser cannot decode it
   */
  showPicture(picture) {
    this.#reset();
    this.#picture = picture;
    this.#paint();
  }

  /**
   * Show a box around each digit of the picture, and the digit that was predicted.
   *
   * @param {{digit: number, box: number[]}[]} predictions box: left, top, right, bottom in pixels of the picture
   * @param {number} selected the index of the box to emphasise
   */
  showPredictions(predictions, selected) {
    this.#predictions = predictions;
    this.#selected = selected;
    this.#paint();
  }

  /**
   * The drawing as a PNG file, black on white, whatever the colour scheme: the ink with a margin, which is white also
   * where it is outside of the drawing area.
   *
   * It is encoded at once. `convertToBlob` and `toBlob` wait for an idle moment, up to 660 ms.
   */
  encodePng() {
    const [left, top, right, bottom] = this.#inkBounds();
    const canvas = document.createElement("canvas");
    canvas.width = Math.ceil(UPLOAD_WIDTH * (right - left + 2 * UPLOAD_MARGIN));
    canvas.height = Math.ceil(UPLOAD_WIDTH * (bottom - top + 2 * UPLOAD_MARGIN));
    const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.translate(UPLOAD_WIDTH * (UPLOAD_MARGIN - left), UPLOAD_WIDTH * (UPLOAD_MARGIN - top));
    context.beginPath();
    context.rect(0, 0, UPLOAD_WIDTH, UPLOAD_WIDTH * ASPECT_RATIO);
    context.clip();
    this.#drawStrokes(context, UPLOAD_WIDTH, "black");
    const base64 = canvas.toDataURL("image/png").split(",")[1];
    return new Blob([Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))], { type: "image/png" });
  }

  /** Left, top, right and bottom of the ink inside the drawing area, in widths of the canvas. */
  #inkBounds() {
    const points = this.#strokes.flat();
    const bounds = (axis, limit) => {
      const values = points.map((point) => point[axis]);
      const low = values.reduce((one, other) => Math.min(one, other)) - PEN_WIDTH / 2;
      const high = values.reduce((one, other) => Math.max(one, other)) + PEN_WIDTH / 2;
      return [Math.max(low, 0), Math.min(high, limit)];
    };
    const [[left, right], [top, bottom]] = [bounds(0, 1), bounds(1, ASPECT_RATIO)];
    return [left, top, right, bottom];
  }

  #reset() {
    this.#strokes = [];
    this.#stroke = this.#picture = null;
    this.#predictions = [];
  }

  #drawingChanged() {
    this.#paint();
    this.#callbacks.onChange();
  }

  #startStroke(event) {
    if (!event.isPrimary || event.button !== 0) return;
    this.#canvas.setPointerCapture(event.pointerId);
    if (this.#picture) this.#reset();
    this.#stroke = [this.#toPadUnits(event)];
    this.#strokes.push(this.#stroke);
    this.#paint();
    this.#callbacks.onPress();
  }

  #extendStroke(event) {
    if (!this.#stroke || !event.isPrimary) return;
    const coalesced = event.getCoalescedEvents?.() ?? [];
    const events = coalesced.length ? coalesced : [event];
    const points = events.map((one) => this.#toPadUnits(one));
    const [lastX, lastY] = this.#stroke.at(-1);
    if (points.every(([x, y]) => x === lastX && y === lastY)) return; // another pressure of a pen or a finger
    this.#stroke.push(...points);
    this.#drawingChanged();
  }

  #endStroke({ isPrimary }) {
    if (!this.#stroke || !isPrimary) return;
    const isDot = this.#stroke.length === 1;
    this.#stroke = null;
    if (isDot) this.#drawingChanged();
    this.#callbacks.onRelease();
  }

  /** End a stroke that the browser takes for another gesture; without a length, it never was one. */
  #cancelStroke({ isPrimary }) {
    if (!this.#stroke || !isPrimary) return;
    const isDot = this.#stroke.length === 1;
    this.#stroke = null;
    if (isDot) this.undo();
  }

  /** The position of a pointer event, in widths of the canvas. */
  #toPadUnits({ clientX, clientY }) {
    const { left, top, width } = this.#canvas.getBoundingClientRect();
    return [(clientX - left) / width, (clientY - top) / width];
  }

  #paint() {
    const { clientWidth } = this.#canvas;
    const width = Math.round(clientWidth * devicePixelRatio);
    this.#canvas.width = width;
    this.#canvas.height = Math.round(width * ASPECT_RATIO);
    const context = this.#canvas.getContext("2d");
    const style = getComputedStyle(this.#canvas);
    if (this.#picture) this.#drawPicture(context, style.getPropertyValue("--accent"));
    this.#drawStrokes(context, width, style.color);
  }

  #drawStrokes(context, width, colour) {
    context.lineWidth = PEN_WIDTH * width;
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = context.fillStyle = colour;
    for (const stroke of this.#strokes) {
      context.beginPath();
      context.arc(stroke[0][0] * width, stroke[0][1] * width, context.lineWidth / 2, 0, 2 * Math.PI);
      context.fill(); // a line without length is not drawn
      context.beginPath();
      context.moveTo(stroke[0][0] * width, stroke[0][1] * width);
      for (const [x, y] of stroke) context.lineTo(x * width, y * width);
      context.stroke();
    }
  }

  #drawPicture(context, accent) {
    const { width, height } = context.canvas;
    const scale = Math.min(width / this.#picture.width, height / this.#picture.height);
    context.imageSmoothingEnabled = scale < 2;
    context.translate((width - scale * this.#picture.width) / 2, (height - scale * this.#picture.height) / 2);
    context.drawImage(this.#picture, 0, 0, scale * this.#picture.width, scale * this.#picture.height);
    for (const [index, { digit, box }] of this.#predictions.entries()) {
      const [left, top, right, bottom] = box.map((edge) => scale * edge);
      context.strokeStyle = context.fillStyle = accent;
      context.lineWidth = (index === this.#selected ? 3 : 1) * devicePixelRatio;
      context.strokeRect(left, top, right - left, bottom - top);
      drawLabel(context, String(digit), left, top, bottom, index === this.#selected);
    }
    context.resetTransform();
  }
}

/** Draw a digit above, or else below, the left corner of its box, on a plate that every picture leaves legible. */
function drawLabel(context, digit, left, top, bottom, isSelected) {
  const [minimum, maximum] = LABEL_SIDES.map((side) => side * devicePixelRatio);
  const height = Math.min(maximum, Math.max(minimum, LABEL_HEIGHT * (bottom - top)));
  context.font = `600 ${height}px system-ui, sans-serif`;
  const width = context.measureText(digit).width + height / 2;
  const edge = left - context.lineWidth / 2;
  const isAbove = context.getTransform().f + top >= height; // else it would be outside of the drawing area
  const upper = isAbove ? top - height : bottom;
  context.globalAlpha = isSelected ? 1 : 0.8;
  context.fillRect(edge, upper, width, height);
  context.globalAlpha = 1;
  context.fillStyle = getComputedStyle(context.canvas).backgroundColor;
  context.textBaseline = "middle";
  context.fillText(digit, edge + height / 4, upper + height / 2 + height / 16);
}
