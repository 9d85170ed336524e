/** The drawing area: strokes by mouse, pen or finger, or a picture with a box around each digit found on it. */

const ASPECT_RATIO = 3 / 4; // height by width, as in main.css
const PEN_WIDTH = 0.04; // in widths of the canvas
const UPLOAD_WIDTH = 400; // pixels

export class DrawingPad {
  #canvas;
  #onChange;
  #strokes = []; // each a list of points [x, y], in widths of the canvas
  #stroke = null;
  #picture = null;
  #boxes = [];
  #selected = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} onChange called when the drawing changes: by a stroke, undo or clear
   */
  constructor(canvas, onChange) {
    this.#canvas = canvas;
    this.#onChange = onChange;
    canvas.addEventListener("pointerdown", (event) => this.#startStroke(event));
    canvas.addEventListener("pointermove", (event) => this.#extendStroke(event));
    for (const type of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(type, (event) => this.#endStroke(event));
    }
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
   * Show a box around each digit of the picture.
   *
   * @param {number[][]} boxes left, top, right, bottom in pixels of the picture
   * @param {number} selected the index of the box to emphasise
   */
  showBoxes(boxes, selected) {
    this.#boxes = boxes;
    this.#selected = selected;
    this.#paint();
  }

  /** The drawing as a PNG file, black on white, whatever the colour scheme. */
  toBlob() {
    const canvas = new OffscreenCanvas(UPLOAD_WIDTH, UPLOAD_WIDTH * ASPECT_RATIO);
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    this.#drawStrokes(context, UPLOAD_WIDTH, "black");
    return canvas.convertToBlob();
  }

  #reset() {
    this.#strokes = [];
    this.#stroke = this.#picture = null;
    this.#boxes = [];
  }

  #drawingChanged() {
    this.#paint();
    this.#onChange();
  }

  #startStroke(event) {
    if (!event.isPrimary || event.button !== 0) return;
    this.#canvas.setPointerCapture(event.pointerId);
    if (this.#picture) this.#reset();
    this.#stroke = [this.#toPadUnits(event)];
    this.#strokes.push(this.#stroke);
    this.#drawingChanged();
  }

  #extendStroke(event) {
    if (!this.#stroke || !event.isPrimary) return;
    const coalesced = event.getCoalescedEvents?.() ?? [];
    const events = coalesced.length ? coalesced : [event];
    this.#stroke.push(...events.map((one) => this.#toPadUnits(one)));
    this.#drawingChanged();
  }

  #endStroke({ isPrimary }) {
    if (isPrimary) this.#stroke = null;
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
    context.strokeStyle = colour;
    for (const stroke of this.#strokes) {
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
    context.strokeStyle = accent;
    for (const [index, [left, top, right, bottom]] of this.#boxes.entries()) {
      context.lineWidth = (index === this.#selected ? 3 : 1) * devicePixelRatio;
      context.strokeRect(scale * left, scale * top, scale * (right - left), scale * (bottom - top));
    }
    context.resetTransform();
  }
}
