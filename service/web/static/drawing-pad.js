/** The drawing area: strokes by mouse, pen or finger, or a picture with a box around each digit that was found. */

const RATIO = 3 / 4; // height by width, as in main.css
const PEN = 0.04; // of the width
const SENT = 400; // pixels of width of the picture that is sent: black on white

export class Pad {
  #canvas;
  #onChange;
  #strokes = [];
  #stroke = null;
  #picture = null;
  #boxes = [];
  #chosen = 0;

  /** @param {() => void} onChange called when the drawing changes, by stroke, undo or clear */
  constructor(canvas, onChange) {
    this.#canvas = canvas;
    this.#onChange = onChange;
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#go(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.#end(event));
    new ResizeObserver(() => this.#paint()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#paint());
  }

  /** Whether there is neither a stroke nor a picture. */
  get empty() {
    return !this.#strokes.length && !this.#picture;
  }

  /** How many strokes were drawn. */
  get strokes() {
    return this.#strokes.length;
  }

  undo() {
    this.#strokes.pop();
    this.#changed();
  }

  clear() {
    this.#reset();
    this.#changed();
  }

  /** Show a picture in place of a drawing: an ImageBitmap, or null for one that the browser cannot show. */
  show(picture) {
    this.#reset();
    this.#picture = picture;
    this.#paint();
  }

  /** Mark digits on the picture: boxes of left, top, right, bottom in its pixels, and which of them is chosen. */
  mark(boxes, chosen) {
    this.#boxes = boxes;
    this.#chosen = chosen;
    this.#paint();
  }

  /** The drawing as a PNG, black on white. */
  blob() {
    const canvas = new OffscreenCanvas(SENT, SENT * RATIO);
    const context = canvas.getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    this.#draw(context, SENT, "black");
    return canvas.convertToBlob();
  }

  #reset() {
    this.#strokes = [];
    this.#stroke = this.#picture = null;
    this.#boxes = [];
  }

  #changed() {
    this.#paint();
    this.#onChange();
  }

  #begin(event) {
    if (!event.isPrimary || event.button !== 0) return;
    this.#canvas.setPointerCapture(event.pointerId);
    if (this.#picture) this.#reset();
    this.#stroke = [this.#point(event)];
    this.#strokes.push(this.#stroke);
    this.#changed();
  }

  #go(event) {
    if (!this.#stroke || !event.isPrimary) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    this.#stroke.push(...(passed.length ? passed : [event]).map((one) => this.#point(one)));
    this.#changed();
  }

  #end({ isPrimary }) {
    if (isPrimary) this.#stroke = null;
  }

  /** In widths of the canvas. */
  #point({ clientX, clientY }) {
    const { left, top, width } = this.#canvas.getBoundingClientRect();
    return [(clientX - left) / width, (clientY - top) / width];
  }

  #paint() {
    const { clientWidth } = this.#canvas;
    const width = Math.round(clientWidth * devicePixelRatio);
    this.#canvas.width = width;
    this.#canvas.height = Math.round(width * RATIO);
    const context = this.#canvas.getContext("2d");
    const style = getComputedStyle(this.#canvas);
    if (this.#picture) this.#lay(context, style.getPropertyValue("--accent"));
    this.#draw(context, width, style.color);
  }

  #draw(context, width, colour) {
    context.lineWidth = PEN * width;
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = colour;
    for (const stroke of this.#strokes) {
      context.beginPath();
      context.moveTo(stroke[0][0] * width, stroke[0][1] * width);
      for (const [x, y] of stroke) context.lineTo(x * width, y * width);
      context.stroke();
    }
  }

  #lay(context, accent) {
    const { width, height } = context.canvas;
    const scale = Math.min(width / this.#picture.width, height / this.#picture.height);
    context.imageSmoothingEnabled = scale < 2;
    context.translate((width - scale * this.#picture.width) / 2, (height - scale * this.#picture.height) / 2);
    context.drawImage(this.#picture, 0, 0, scale * this.#picture.width, scale * this.#picture.height);
    context.strokeStyle = accent;
    for (const [index, [left, top, right, bottom]] of this.#boxes.entries()) {
      context.lineWidth = (index === this.#chosen ? 3 : 1) * devicePixelRatio;
      context.strokeRect(scale * left, scale * top, scale * (right - left), scale * (bottom - top));
    }
    context.resetTransform();
  }
}
