/** The page: what is drawn, dropped, pasted or chosen goes to the service, and what it answers is shown. */

import { Answer, sentenceOf } from "./prediction-view.js";
import { Refused, ask, pause, predict, useKey } from "./api.js";
import { Pad } from "./drawing-pad.js";
import { Sheet } from "./contact-sheet.js";

const SIDE = 28;
const BREATH = 40; // milliseconds between two requests for one drawing
const SETTLED = 700; // milliseconds without change after which an answer is read out

const $ = (id) => document.getElementById(id);
const page = document.querySelector("main");

let turn = new AbortController();
let version = page.dataset.version;
let reading = false;
let changed = false;
let again = null; // reads the same once more, when the key is known
let saying;

const pad = new Pad($("pad"), () => (pad.strokes ? readDrawing() : nothing()));
const answer = new Answer({ number: $("number"), seen: $("seen"), words: $("words"), bars: $("bars") }, mark);
const sheet = new Sheet(
  { sheet: $("sheet"), title: $("sheet-title"), progress: $("progress"), stop: $("stop"), save: $("save"), tiles: $("tiles"), tile: $("tile") },
  readTile,
  open,
  say,
);

/** Ask for the drawing as it is now; one request at a time, and the newest drawing next. */
async function readDrawing() {
  again = readDrawing;
  if (!reading) begin();
  changed = true;
  controls();
  if (reading) return;
  reading = true;
  const { signal } = turn;
  while (changed && !signal.aborted) {
    changed = false;
    await attempt(async () => show(await readStrokes(signal), signal), signal);
    await pause(BREATH, signal);
  }
  if (turn.signal === signal) reading = false;
}

/** A digit takes a stroke at least: one stroke alone is never split, nor a drawing into more digits than strokes. */
async function readStrokes(signal) {
  const { strokes } = pad;
  const blob = await pad.blob();
  const found = strokes > 1 && (await predict(blob, false, signal, notice));
  return found && found.predictions.length <= strokes ? found : predict(blob, true, signal, notice);
}

/** Read one picture, and show it in place of a drawing. */
async function readPicture(file) {
  again = () => readPicture(file);
  const { signal } = begin();
  answer.none("Reading…");
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (signal.aborted) return;
  pad.show(bitmap);
  controls(file.name);
  await attempt(async () => show(await read(file, bitmap, signal), signal), signal);
}

async function readTile(file, bitmap, signal) {
  const found = await read(file, bitmap, signal);
  notice("");
  return found;
}

/** The answer for a picture; an image of 28x28 is asked for as it is, all else digit by digit. */
function read(file, bitmap, signal) {
  const most = Number(page.dataset.mostBytes);
  if (file.size > most) throw new Refused(413, `The picture has ${file.size} bytes; ${most} are allowed.`);
  const whole = bitmap?.width === SIDE && bitmap.height === SIDE;
  return predict(file, whole, signal, notice);
}

/** Do it; a refusal becomes a sentence on the page. */
async function attempt(work, signal) {
  try {
    await work();
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Refused)) throw error;
    answer.none(error.status === 422 ? error.message : "No answer.");
    notice(error.status === 422 ? "" : error.message);
    if (error.status === 401) $("key").hidden = false;
    if (error.status === 422) sayLater(error.message);
  }
}

function show({ predictions, version: by }, signal) {
  if (signal.aborted) return;
  notice("");
  answer.show(predictions);
  sayLater(sentenceOf(predictions));
  if (by !== version) about(by);
}

/** Something new is to be read: what is on its way for the old is dropped. */
function begin() {
  turn.abort();
  turn = new AbortController();
  reading = changed = false;
  notice("");
  return turn;
}

function nothing() {
  begin();
  answer.none("Nothing is drawn yet.");
  controls();
  sayLater("Nothing is drawn.");
}

/** A tile of the sheet was opened. */
async function open({ file, found }) {
  page.scrollIntoView();
  $("answer").focus({ preventScroll: true });
  if (!found) return readPicture(file);
  const { signal } = begin();
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (signal.aborted) return;
  pad.show(bitmap);
  controls(file.name);
  show(found, signal);
}

function take(files) {
  if (files.length === 1) readPicture(files[0]);
  if (files.length > 1) sheet.take([...files]);
}

function mark(index) {
  const boxes = answer.predictions.map(({ box }) => box).filter(Boolean);
  pad.mark(boxes, index);
  if ($("thanks")) $("thanks").textContent = "Is it wrong? Tap the right digit.";
}

function controls(name = "") {
  $("undo").disabled = !pad.strokes;
  $("clear").disabled = pad.empty && !name;
  $("hint").textContent = name || "Draw here";
  $("hint").hidden = !pad.empty;
}

function notice(sentence) {
  if ($("notice").textContent !== sentence) $("notice").textContent = sentence;
  $("notice").hidden = !sentence;
}

function say(sentence) {
  $("said").textContent = sentence;
}

function sayLater(sentence) {
  clearTimeout(saying);
  saying = setTimeout(say, SETTLED, sentence);
}

/** Another version answers than the page was made with, or the key is known by now. */
async function about(by) {
  version = by;
  const { manifest } = await ask("/model", {}, AbortSignal.timeout(60_000), () => {});
  const accuracy = manifest?.metrics?.test_accuracy;
  const right = accuracy ? `; it reads ${(100 * accuracy).toFixed(2)} % of MNIST's test images right` : "";
  $("about").textContent = `Version ${version} answers${right}.`;
}

/** Somebody knows better: send the image that the network saw, and the digit that it is. */
async function tell(digit) {
  const { image, digit: answered } = answer.predictions[answer.chosen];
  const body = JSON.stringify({ image, digit, answered, version });
  const { signal } = turn;
  try {
    await ask("/feedback", { method: "POST", body, type: "application/json" }, signal, notice);
    notice("");
    $("bars").children[digit].classList.add("told");
    $("thanks").textContent = `Noted as a ${digit}. Thank you.`;
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Refused)) throw error;
    notice(error.message);
  }
}

$("undo").addEventListener("click", () => pad.undo());
$("clear").addEventListener("click", () => pad.clear());
$("stop").addEventListener("click", () => notice(""));
$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey($("key-field").value);
  $("key").hidden = true;
  notice("");
  again?.();
  if (version) about(version);
});
for (const input of [$("files"), $("camera")]) {
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  });
}
for (const [digit, item] of [...$("bars").children].entries()) {
  if ($("thanks")) item.firstElementChild.addEventListener("click", () => tell(digit));
}
document.addEventListener("paste", ({ clipboardData }) => take(clipboardData.files));
document.addEventListener("keydown", (event) => {
  const undo = event.key === "z" && (event.ctrlKey || event.metaKey);
  if (undo && pad.strokes && !event.target.matches("input")) pad.undo();
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").hidden = !event.dataTransfer.types.includes("Files");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").hidden = true;
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").hidden = true;
  take(event.dataTransfer.files);
});
