/** Shows predictions: the digits line by line, and for the selected one confidence, probabilities and network input. */

const { confidenceLabels, uncertainLabel, threshold } = document.querySelector("main").dataset;
const CONFIDENCE_LABELS = JSON.parse(confidenceLabels); // from service/web/ui.py, in descending order of confidence
const MIN_ALTERNATIVE = 0.05; // a second digit is named from this probability on
const INCOMPLETE = "a digit at the edge may be missing";
let confidenceThreshold = Number(threshold || Infinity);

/**
 * Use the confidence threshold of another version.
 *
 * @param {number?} newThreshold without one, no number is known to be incomplete
 */
export function setThreshold(newThreshold) {
  confidenceThreshold = newThreshold ?? Infinity;
}

/**
 * The label of a confidence: "Very sure".
 *
 * @param {number} confidence from 0 to 1
 * @param {boolean} uncertain whether the confidence is below the threshold of the model
 */
export function confidenceLabel(confidence, uncertain) {
  return uncertain ? uncertainLabel : CONFIDENCE_LABELS.find(([minimum]) => confidence >= minimum)[1];
}

/** In per cent, rounded down, and never 100 %; as `format_percent` of service/web/ui.py. */
export function formatPercent(confidence) {
  return confidence >= 0.999 ? "over 99.9 %" : `${(Math.floor(confidence * 1000) / 10).toFixed(1)} %`;
}

/** The predictions of each line of writing, from top to bottom. */
export function groupByLine(predictions) {
  return [...Map.groupBy(predictions, ({ line }) => line).values()];
}

/** The digits of each line of writing, as one text a line. */
export function joinDigits(predictions) {
  return groupByLine(predictions).map((line) => line.map(({ digit }) => digit).join(""));
}

/** A number that is smaller for a more doubtful prediction: below 0 if it is uncertain. */
export function rankCertainty({ confidence, uncertain }) {
  return confidence - Number(uncertain);
}

/** The index of the most doubtful prediction. */
export function mostDoubtful(predictions) {
  const ranks = predictions.map(rankCertainty);
  return ranks.indexOf(ranks.reduce((one, other) => Math.min(one, other)));
}

/** Whether a prediction is uncertain for the digits around it: its line of writing may have lost one. */
export function isIncomplete({ confidence, uncertain, line }) {
  return Boolean(line) && uncertain && confidence >= confidenceThreshold;
}

/** One sentence for predictions: "7: certain, over 99.9 %." or "2 numbers, 2024, 17: not sure, 43.1 %." */
export function summarise(predictions) {
  const numbers = joinDigits(predictions);
  const prefix = numbers.length > 1 ? `${numbers.length} numbers, ` : "";
  const prediction = predictions[mostDoubtful(predictions)];
  const label = confidenceLabel(prediction.confidence, prediction.uncertain).toLowerCase();
  const reason = isIncomplete(prediction) ? INCOMPLETE : formatPercent(prediction.confidence);
  return `${prefix}${numbers.join(", ")}: ${label}, ${reason}.`;
}

export class PredictionView {
  #digits;
  #networkInput;
  #confidence;
  #bars;
  #onSelect;
  #children = []; // an element for each prediction
  predictions = [];
  selected = 0;

  /**
   * @param {{digits: Element, networkInput: HTMLImageElement, confidence: Element, bars: Element}} elements
   * @param {(index: number) => void} onSelect called when another prediction is selected
   */
  constructor({ digits, networkInput, confidence, bars }, onSelect) {
    this.#digits = digits;
    this.#networkInput = networkInput;
    this.#confidence = confidence;
    this.#bars = [...bars.children];
    this.#onSelect = onSelect;
  }

  /**
   * Show predictions line by line, and select the most doubtful one.
   *
   * @param {object[]} predictions as POST /predict returns them, with images; at least one
   */
  show(predictions) {
    this.predictions = predictions;
    this.#children = predictions.map((prediction, index) => this.#createDigit(prediction, index));
    const lines = groupByLine(predictions.map(({ line }, index) => ({ line, child: this.#children[index] })));
    this.#digits.style.setProperty("--count", Math.max(...lines.map((line) => line.length)));
    this.#digits.style.setProperty("--lines", lines.length);
    this.#digits.replaceChildren(...lines.map((line, index) => createLine(line, lines.length > 1 && index + 1)));
    this.select(mostDoubtful(predictions));
  }

  /**
   * Show the details of one prediction.
   *
   * @param {number} index
   */
  select(index) {
    this.selected = index;
    const { digit, uncertain, probabilities, image } = this.predictions[index];
    this.#children.forEach((child, other) => child.setAttribute("aria-pressed", other === index));
    this.#networkInput.src = `data:image/png;base64,${image}`;
    this.#networkInput.hidden = false;
    this.#showConfidence(this.#describe(this.predictions[index]), uncertain);
    this.#showBars((other) => probabilities[other], digit, false);
    this.#onSelect(index);
  }

  /**
   * Show a sentence in place of predictions.
   *
   * @param {string} sentence
   */
  showMessage(sentence) {
    this.predictions = [];
    this.#digits.replaceChildren();
    this.#digits.style.setProperty("--count", 1);
    this.#networkInput.hidden = true;
    this.#showConfidence(sentence, false);
    this.#showBars(() => 0, null, true);
  }

  #describe(prediction) {
    const { digit, confidence, uncertain, probabilities } = prediction;
    const label = confidenceLabel(confidence, uncertain);
    const others = probabilities.map((probability, other) => [other === digit ? -1 : probability, other]);
    const [probability, second] = others.reduce((best, other) => (other[0] > best[0] ? other : best));
    const prefixed = this.predictions.length > 1 ? `${digit}: ${label.toLowerCase()}` : label;
    if (isIncomplete(prediction)) return `${prefixed}, ${INCOMPLETE}`;
    const alternative = probability >= MIN_ALTERNATIVE ? `, it could be a ${second}` : "";
    return `${prefixed}${alternative}, ${formatPercent(confidence)}`;
  }

  #showConfidence(sentence, uncertain) {
    this.#confidence.textContent = sentence;
    this.#confidence.classList.toggle("uncertain", uncertain);
  }

  #showBars(probabilityOf, predicted, disabled) {
    for (const [digit, item] of this.#bars.entries()) {
      const probability = probabilityOf(digit);
      item.style.setProperty("--probability", probability);
      item.classList.toggle("predicted", digit === predicted);
      item.classList.remove("corrected");
      item.querySelector(".probability").textContent = disabled ? "" : `, ${formatPercent(probability)}`;
      item.firstElementChild.disabled = disabled;
    }
  }

  /** Each of several digits is a button that selects it; a single digit is text. */
  #createDigit({ digit, uncertain }, index) {
    const selectable = this.predictions.length > 1;
    const element = document.createElement(selectable ? "button" : "span");
    element.textContent = digit;
    element.classList.toggle("uncertain", uncertain);
    if (!selectable) return element;
    element.addEventListener("click", () => this.select(index));
    if (uncertain) element.ariaLabel = `${digit}, ${uncertainLabel.toLowerCase()}`;
    return element;
  }
}

/** The digits of one line of writing; `number` is that of the line, or false if there is only one. */
function createLine(entries, number) {
  const element = document.createElement("div");
  element.className = "line";
  if (number) {
    element.role = "group";
    element.ariaLabel = `Line ${number}`;
  }
  element.append(...entries.map(({ child }) => child));
  return element;
}
