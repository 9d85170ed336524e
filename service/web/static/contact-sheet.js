/** Many pictures at once: a few requests in flight, a contact sheet sorted by doubt, and the answers as CSV. */

import { Refused } from "./api.js";
import { percent, textOf, weakest, words } from "./prediction-view.js";

const AT_ONCE = 4;
const THUMBNAIL = 144; // pixels

export class Sheet {
  #parts;
  #read;
  #open;
  #say;
  #entries = [];
  #stop = new AbortController();

  /**
   * @param parts the elements: sheet, title, progress, stop, save, tiles and the template tile
   * @param {(file: File, bitmap: ImageBitmap?, signal: AbortSignal) => Promise<object>} read the answer of /predict
   * @param {(entry: object) => void} open a tile was opened
   * @param {(sentence: string) => void} say tell those who cannot see it
   */
  constructor(parts, read, open, say) {
    this.#parts = parts;
    this.#read = read;
    this.#open = open;
    this.#say = say;
    parts.stop.addEventListener("click", () => this.#stop.abort());
    parts.save.addEventListener("click", () => this.#save());
  }

  /** Read files, in place of those before. */
  async take(files) {
    this.#stop.abort();
    const { signal } = (this.#stop = new AbortController());
    this.#entries = files.map((file) => this.#entry(file));
    this.#parts.tiles.replaceChildren(...this.#entries.map(({ tile }) => tile));
    this.#parts.sheet.hidden = false;
    this.#running(true);
    this.#count();
    const waiting = this.#entries.values();
    await Promise.all(Array.from({ length: AT_ONCE }, () => this.#work(waiting, signal)));
    if (this.#stop.signal === signal) this.#finish();
  }

  async #work(waiting, signal) {
    for (const entry of waiting) {
      if (signal.aborted) return;
      const bitmap = await createImageBitmap(entry.file).catch(() => null);
      if (bitmap) thumbnail(entry.tile.querySelector("canvas"), bitmap);
      try {
        entry.found = await this.#read(entry.file, bitmap, signal);
        this.#fill(entry);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof Refused)) throw error;
        entry.error = error.message;
        this.#fail(entry);
      } finally {
        bitmap?.close();
      }
      this.#count();
    }
  }

  #entry(file) {
    const tile = this.#parts.tile.content.firstElementChild.cloneNode(true);
    const entry = { file, tile, found: null, error: "" };
    const name = tile.querySelector(".name");
    name.textContent = name.title = file.name;
    tile.firstElementChild.addEventListener("click", () => this.#open(entry));
    return entry;
  }

  #fill({ tile, found: { predictions } }) {
    const { confidence, uncertain } = predictions[weakest(predictions)];
    tile.querySelector(".digits").textContent = textOf(predictions);
    tile.querySelector(".sure").textContent = uncertain ? words(confidence, uncertain) : percent(confidence);
    tile.classList.toggle("doubtful", uncertain);
  }

  #fail({ tile, error }) {
    tile.querySelector(".sure").textContent = error;
    tile.classList.add("failed");
  }

  #count() {
    const done = this.#entries.filter(({ found, error }) => found || error).length;
    this.#parts.title.textContent = `${done} of ${this.#entries.length} pictures read`;
    this.#parts.progress.max = this.#entries.length;
    this.#parts.progress.value = done;
  }

  #running(running) {
    this.#parts.progress.hidden = this.#parts.stop.hidden = !running;
    this.#parts.save.hidden = running;
  }

  #finish() {
    this.#entries.sort((one, other) => certainty(one.found) - certainty(other.found));
    this.#parts.tiles.append(...this.#entries.map(({ tile }) => tile));
    this.#running(false);
    const doubtful = this.#entries.filter(({ found }) => found && isDoubtful(found)).length;
    const failed = this.#entries.filter(({ error }) => error).length;
    this.#say(`${this.#parts.title.textContent}; ${doubtful} not sure, ${failed} without an answer.`);
  }

  #save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv(this.#entries)], { type: "text/csv;charset=utf-8" }));
    link.download = "digits.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
}

/** The answers as CSV (RFC 4180). */
export function csv(entries) {
  const rows = entries.map(({ file, found, error }) => {
    if (!found) return [file.name, "", "", "", error || "not read"];
    return [file.name, textOf(found.predictions), certainty(found), isDoubtful(found), ""];
  });
  return [["name", "digits", "confidence", "uncertain", "error"], ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** A cell; a name that a spreadsheet would take for a formula gets an apostrophe before it. */
function cell(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The confidence of the weakest digit; what has no answer comes first. */
function certainty(found) {
  return found ? found.predictions[weakest(found.predictions)].confidence : -1;
}

function isDoubtful({ predictions }) {
  return predictions.some(({ uncertain }) => uncertain);
}

function thumbnail(canvas, bitmap) {
  const scale = THUMBNAIL / Math.max(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = scale < 2;
  context.imageSmoothingQuality = "high";
  const [width, height] = [scale * bitmap.width, scale * bitmap.height];
  context.drawImage(bitmap, (THUMBNAIL - width) / 2, (THUMBNAIL - height) / 2, width, height);
}
