/** The web UI: sends drawings and pictures to the service, and shows the predictions. */

import { ApiError, predict, requestJson, setApiKey, sleep } from "./api.js";
import { ContactSheet } from "./contact-sheet.js";
import { DrawingPad } from "./drawing-pad.js";
import { PredictionView, joinDigits, setThreshold, summarise } from "./prediction-view.js";

const IMAGE_SIDE = 28;
const MIN_REQUEST_INTERVAL = 40; // milliseconds between a response and the next request while a stroke is drawn
const ANNOUNCE_DELAY = 700; // milliseconds without a change before screen readers get a prediction

const $ = (id) => document.getElementById(id);
const main = document.querySelector("main");
const padDescription = $("pad").ariaLabel;

let currentRequest = new AbortController();
let version = main.dataset.version;
let isPredictingDrawing = false;
let hasDrawingChanged = false;
let repeatLast = null; // repeats the last prediction, once the API key is known
let announceTimer;
let drawingsSent = 0;
let drawingShown = 0; // the number of the newest drawing whose answer is shown

const pad = new DrawingPad($("pad"), {
  onPress: startStroke,
  onChange: () => (pad.strokeCount ? predictDrawing() : clear()),
  onRelease: () => hasDrawingChanged && predictNewest(currentRequest.signal),
});
const view = new PredictionView(
  { digits: $("digits"), networkInput: $("network-input"), confidence: $("confidence"), bars: $("bars") },
  onDigitSelected,
);
const contactSheet = new ContactSheet(
  {
    sheet: $("contact-sheet"),
    title: $("contact-sheet-title"),
    progress: $("progress"),
    stop: $("stop"),
    save: $("save"),
    tiles: $("tiles"),
    tileTemplate: $("tile-template"),
  },
  predictTile,
  openEntry,
  announce,
);

/** Prepare for a stroke. Its first point is not sent: it is no ink to read yet. */
function startStroke() {
  if (!isPredictingDrawing) startRequest();
  if (pad.strokeCount === 1) view.showMessage("Reading…");
  updateControls();
}

/** Predict the drawing: one request at a time while a stroke is drawn, and at its end one without waiting. */
async function predictDrawing() {
  repeatLast = predictDrawing;
  if (!isPredictingDrawing) startRequest();
  hasDrawingChanged = true;
  updateControls();
  if (isPredictingDrawing) return;
  isPredictingDrawing = true;
  const { signal } = currentRequest;
  while (hasDrawingChanged && !signal.aborted) {
    await predictNewest(signal);
    await sleep(MIN_REQUEST_INTERVAL, signal);
  }
  if (currentRequest.signal === signal) isPredictingDrawing = false;
}

/** Predict the drawing as it is now, and show the answer unless that to a newer drawing is shown. */
async function predictNewest(signal) {
  hasDrawingChanged = false;
  const number = (drawingsSent += 1);
  const isOutdated = () => signal.aborted || number < drawingShown;
  const run = async () => {
    const result = await predictStrokes(signal);
    if (isOutdated()) return;
    drawingShown = number;
    showResult(result, signal);
  };
  await showErrors(run, isOutdated);
}

/** A digit has at least one stroke: a drawing is not split into more digits than it has strokes. */
async function predictStrokes(signal) {
  const { strokeCount } = pad;
  const blob = pad.encodePng();
  const result = strokeCount > 1 && (await predict(blob, true, signal, showNotice));
  return result && result.predictions.length <= strokeCount ? result : predict(blob, false, signal, showNotice);
}

/** Predict one picture, and show it in place of the drawing. */
async function predictPicture(file) {
  repeatLast = () => predictPicture(file);
  const { signal } = startRequest();
  view.showMessage("Reading…");
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (signal.aborted) return;
  pad.showPicture(bitmap);
  updateControls(file.name);
  const run = async () => showResult(await predictFile(file, bitmap, signal), signal);
  await showErrors(run, () => signal.aborted);
}

async function predictTile(file, bitmap, signal) {
  const result = await predictFile(file, bitmap, signal);
  showNotice("");
  return result;
}

/** Predict a picture: one of 28x28 pixels is one digit, any other is split into digits. */
function predictFile(file, bitmap, signal) {
  const limit = Number(main.dataset.maxBodyBytes);
  if (file.size > limit) throw new ApiError(413, `The picture has ${file.size} bytes; ${limit} are allowed.`);
  const split = bitmap?.width !== IMAGE_SIDE || bitmap.height !== IMAGE_SIDE;
  return predict(file, split, signal, showNotice);
}

/** Run a prediction, and show its ApiError as a sentence, unless it is outdated by then. */
async function showErrors(run, isOutdated) {
  try {
    await run();
  } catch (error) {
    if (isOutdated()) return;
    if (!(error instanceof ApiError)) throw error;
    view.showMessage(error.status === 422 ? error.message : "No answer.");
    showNotice(error.status === 422 ? "" : error.message);
    if (error.status === 401) $("key").hidden = false;
    if (error.status === 422) announceLater(error.message);
  }
}

function showResult(result, signal) {
  if (signal.aborted) return;
  showNotice("");
  view.show(result.predictions);
  describePad();
  announceLater(summarise(result.predictions));
  if (result.version !== version) showVersion(result.version);
}

/** Start a new request, and abort the one in flight. */
function startRequest() {
  currentRequest.abort();
  currentRequest = new AbortController();
  isPredictingDrawing = hasDrawingChanged = false;
  showNotice("");
  return currentRequest;
}

/** Show the state without a drawing. */
function clear() {
  startRequest();
  view.showMessage("Nothing is drawn yet.");
  updateControls();
  announceLater("Nothing is drawn.");
}

/** Show a picture of the contact sheet in place of the drawing. */
async function openEntry({ file, result }) {
  main.scrollIntoView();
  $("prediction").focus({ preventScroll: true });
  if (!result) return predictPicture(file);
  const { signal } = startRequest();
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (signal.aborted) return;
  pad.showPicture(bitmap);
  updateControls(file.name);
  showResult(result, signal);
}

/** Predict one file as a picture, several as a contact sheet. */
function openFiles(files) {
  if (files.length === 1) predictPicture(files[0]);
  if (files.length > 1) contactSheet.load([...files]);
}

function onDigitSelected(index) {
  pad.showPredictions(
    view.predictions.filter(({ box }) => box),
    index,
  );
  if ($("feedback-status")) $("feedback-status").textContent = "Is it wrong? Tap the right digit.";
}

function updateControls(pictureName = "") {
  $("undo").disabled = !pad.strokeCount;
  $("clear").disabled = pad.isEmpty && !pictureName;
  $("hint").textContent = pictureName || "Draw here";
  $("hint").hidden = !pad.isEmpty;
  describePad();
}

/** Describe the drawing area for screen readers: the picture and the numbers on it, or how to draw. */
function describePad() {
  const numbers = pad.strokeCount || pad.isEmpty ? [] : joinDigits(view.predictions);
  const suffix = numbers.length ? `, with ${numbers.join(", ")} marked on it` : "";
  $("pad").ariaLabel = pad.strokeCount || pad.isEmpty ? padDescription : `Your picture${suffix}`;
}

/** Show a sentence as an alert; an empty one hides it. */
function showNotice(sentence) {
  // A screen reader repeats an alert that is set again, even to the same text.
  if ($("notice").textContent !== sentence) $("notice").textContent = sentence;
  $("notice").hidden = !sentence;
}

/** Pass a sentence to screen readers. */
function announce(sentence) {
  $("announcement").textContent = sentence;
}

function announceLater(sentence) {
  clearTimeout(announceTimer);
  announceTimer = setTimeout(announce, ANNOUNCE_DELAY, sentence);
}

/** Show the version in use and its accuracy: after a new version, or once the API key is known. */
async function showVersion(newVersion) {
  version = newVersion;
  setThreshold(null);
  const { manifest } = await requestJson("model", {}, AbortSignal.timeout(60_000), () => {});
  setThreshold(manifest?.thresholds?.confidence);
  const accuracy = manifest?.metrics?.test_accuracy;
  const suffix = accuracy ? `; it reads ${(100 * accuracy).toFixed(2)} % of MNIST's test images right` : "";
  $("model-info").textContent = `Version ${version} answers${suffix}.`;
}

/** Send the right digit for the selected prediction, with the image that the network was given. */
async function sendFeedback(digit) {
  const { image, digit: predicted } = view.predictions[view.selected];
  const body = JSON.stringify({ image, digit, predicted, version });
  const { signal } = currentRequest;
  try {
    await requestJson("feedback", { method: "POST", body, type: "application/json" }, signal, showNotice);
    showNotice("");
    $("bars").children[digit].classList.add("corrected");
    $("feedback-status").textContent = `Noted as a ${digit}. Thank you.`;
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ApiError)) throw error;
    showNotice(error.message);
  }
}

$("undo").addEventListener("click", () => pad.undo());
$("clear").addEventListener("click", () => pad.clear());
$("stop").addEventListener("click", () => showNotice(""));
$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  setApiKey($("key-field").value);
  $("key").hidden = true;
  showNotice("");
  repeatLast?.();
  if (version) showVersion(version);
});
for (const input of [$("files"), $("camera")]) {
  input.addEventListener("change", () => {
    openFiles([...input.files]);
    input.value = ""; // so that choosing the same file again is a change
  });
}
if ($("feedback-status")) {
  for (const [digit, item] of [...$("bars").children].entries()) {
    item.firstElementChild.addEventListener("click", () => sendFeedback(digit));
  }
}
document.addEventListener("paste", ({ clipboardData }) => openFiles(clipboardData.files));
document.addEventListener("keydown", (event) => {
  const isUndo = event.key === "z" && (event.ctrlKey || event.metaKey);
  if (isUndo && pad.strokeCount && !event.target.matches("input")) pad.undo();
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop-overlay").hidden = !event.dataTransfer.types.includes("Files");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop-overlay").hidden = true;
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop-overlay").hidden = true;
  openFiles(event.dataTransfer.files);
});
