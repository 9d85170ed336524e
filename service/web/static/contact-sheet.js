/** Predicts many pictures: a few requests at a time, tiles sorted by confidence, and the results as CSV. */

import { ApiError } from "./api.js";
import {
  confidenceLabel,
  formatPercent,
  groupByLine,
  isIncomplete,
  joinDigits,
  mostDoubtful,
  rankCertainty,
} from "./prediction-view.js";

const MAX_CONCURRENT_REQUESTS = 4;
const THUMBNAIL_SIDE = 144; // pixels

/**
 * @typedef {object} Entry one picture of the sheet
 * @property {File} file
 * @property {Element} tile
 * @property {object?} result the response of POST /predict
 * @property {string} error one sentence, or empty
 */

export class ContactSheet {
  #elements;
  #predict;
  #onOpen;
  #announce;
  #entries = [];
  #stop = new AbortController();

  /**
   * @param {object} elements sheet, title, progress, stop, save, tiles, and tileTemplate
   * @param {(file: File, bitmap: ImageBitmap?, signal: AbortSignal) => Promise<object>} predict returns the response
   *   of POST /predict
   * @param {(entry: Entry) => void} onOpen called when a tile is clicked
   * @param {(sentence: string) => void} announce passes a sentence to screen readers
   */
  constructor(elements, predict, onOpen, announce) {
    this.#elements = elements;
    this.#predict = predict;
    this.#onOpen = onOpen;
    this.#announce = announce;
    elements.stop.addEventListener("click", () => this.#stop.abort());
    elements.save.addEventListener("click", () => this.#downloadCsv());
  }

  /**
   * Predict files, and show them in place of earlier ones.
   *
   * @param {File[]} files
   */
  async load(files) {
    this.#stop.abort();
    const { signal } = (this.#stop = new AbortController());
    this.#entries = files.map((file) => this.#createEntry(file));
    this.#elements.tiles.replaceChildren(...this.#entries.map(({ tile }) => tile));
    this.#elements.sheet.hidden = false;
    this.#setRunning(true);
    this.#updateProgress();
    const queue = this.#entries.values();
    await Promise.all(Array.from({ length: MAX_CONCURRENT_REQUESTS }, () => this.#processQueue(queue, signal)));
    if (this.#stop.signal === signal) this.#finish();
  }

  async #processQueue(queue, signal) {
    for (const entry of queue) {
      if (signal.aborted) return;
      const bitmap = await createImageBitmap(entry.file).catch(() => null);
      if (bitmap) drawThumbnail(entry.tile.querySelector("canvas"), bitmap);
      try {
        entry.result = await this.#predict(entry.file, bitmap, signal);
        this.#showResult(entry);
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        entry.error = error.message;
        this.#showError(entry);
      } finally {
        bitmap?.close();
      }
      this.#updateProgress();
    }
  }

  #createEntry(file) {
    const tile = this.#elements.tileTemplate.content.firstElementChild.cloneNode(true);
    const entry = { file, tile, result: null, error: "" };
    const name = tile.querySelector(".name");
    name.textContent = name.title = file.name;
    tile.firstElementChild.addEventListener("click", () => this.#onOpen(entry));
    return entry;
  }

  #showResult({ tile, result: { predictions } }) {
    const prediction = predictions[mostDoubtful(predictions)];
    const { confidence, uncertain } = prediction;
    const numbers = joinDigits(predictions);
    tile.querySelector(".digits").textContent = numbers.join("\n");
    const label = isIncomplete(prediction) ? "Incomplete?" : confidenceLabel(confidence, uncertain);
    tile.querySelector(".status").textContent = uncertain ? label : formatPercent(confidence);
    tile.classList.toggle("uncertain", uncertain);
    tile.classList.toggle("several-lines", numbers.length > 1);
  }

  #showError({ tile, error }) {
    tile.querySelector(".status").textContent = error;
    tile.classList.add("failed");
  }

  #updateProgress() {
    const done = this.#entries.filter(({ result, error }) => result || error).length;
    this.#elements.title.textContent = `${done} of ${this.#entries.length} pictures read`;
    this.#elements.progress.max = this.#entries.length;
    this.#elements.progress.value = done;
  }

  #setRunning(running) {
    this.#elements.progress.hidden = this.#elements.stop.hidden = !running;
    this.#elements.save.hidden = running;
  }

  #finish() {
    this.#entries.sort((one, other) => rankResult(one.result) - rankResult(other.result));
    this.#elements.tiles.append(...this.#entries.map(({ tile }) => tile));
    this.#setRunning(false);
    const uncertain = this.#entries.filter(({ result }) => result && isUncertain(result)).length;
    const failed = this.#entries.filter(({ error }) => error).length;
    this.#announce(`${this.#elements.title.textContent}; ${uncertain} not sure, ${failed} without an answer.`);
  }

  #downloadCsv() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([formatCsv(this.#entries)], { type: "text/csv;charset=utf-8" }));
    link.download = "digits.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
}

/** The results as CSV (RFC 4180), one row for each line of writing. */
function formatCsv(entries) {
  const rows = entries.flatMap(({ file, result, error }) => {
    if (!result) return [[file.name, "", "", "", "", error || "not read"]];
    return groupByLine(result.predictions).map((line, index) => {
      const confidence = line.map((prediction) => prediction.confidence);
      return [
        file.name,
        index + 1,
        joinDigits(line)[0],
        Math.min(...confidence),
        isUncertain({ predictions: line }),
        "",
      ];
    });
  });
  const header = ["name", "line", "digits", "confidence", "uncertain", "error"];
  return [header, ...rows].map((row) => `${row.map(formatCsvCell).join(",")}\r\n`).join("");
}

/** A quoted cell; a name that a spreadsheet would run as a formula gets an apostrophe in front. */
function formatCsvCell(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The rank of the most doubtful digit; without a result it is lower than any, so that errors are sorted first. */
function rankResult(result) {
  return result ? Math.min(...result.predictions.map(rankCertainty)) : -2;
}

function isUncertain({ predictions }) {
  return predictions.some(({ uncertain }) => uncertain);
}

function drawThumbnail(canvas, bitmap) {
  const scale = THUMBNAIL_SIDE / Math.max(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = scale < 2;
  context.imageSmoothingQuality = "high";
  const [width, height] = [scale * bitmap.width, scale * bitmap.height];
  context.drawImage(bitmap, (THUMBNAIL_SIDE - width) / 2, (THUMBNAIL_SIDE - height) / 2, width, height);
}
