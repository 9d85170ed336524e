/** Shows predictions: the digits, and for the selected one its confidence, ten probabilities and the network's input. */

const { confidenceLabels, uncertainLabel } = document.querySelector("main").dataset;
const CONFIDENCE_LABELS = JSON.parse(confidenceLabels); // from service/web/ui.py, in descending order of confidence
const MIN_ALTERNATIVE = 0.05; // a second digit is named from this probability on

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

/** The digits of predictions as one text. */
export function joinDigits(predictions) {
  return predictions.map(({ digit }) => digit).join("");
}

/** The index of the least confident prediction. */
export function leastConfident(predictions) {
  return predictions.reduce(
    (lowest, { confidence }, index) => (confidence < predictions[lowest].confidence ? index : lowest),
    0,
  );
}

/** One sentence for predictions: "7: certain, over 99.9 %." */
export function summarise(predictions) {
  const { confidence, uncertain } = predictions[leastConfident(predictions)];
  const label = confidenceLabel(confidence, uncertain).toLowerCase();
  return `${joinDigits(predictions)}: ${label}, ${formatPercent(confidence)}.`;
}

export class PredictionView {
  #digits;
  #networkInput;
  #confidence;
  #bars;
  #onSelect;
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
   * Show predictions and select the least confident one.
   *
   * @param {object[]} predictions as POST /predict returns them, with images; at least one
   */
  show(predictions) {
    this.predictions = predictions;
    this.#digits.style.setProperty("--count", predictions.length);
    this.#digits.replaceChildren(...predictions.map((prediction, index) => this.#createDigit(prediction, index)));
    this.select(leastConfident(predictions));
  }

  /**
   * Show the details of one prediction.
   *
   * @param {number} index
   */
  select(index) {
    this.selected = index;
    const { digit, confidence, uncertain, probabilities, image } = this.predictions[index];
    [...this.#digits.children].forEach((child, other) => child.setAttribute("aria-pressed", other === index));
    this.#networkInput.src = `data:image/png;base64,${image}`;
    this.#networkInput.hidden = false;
    this.#showConfidence(`${this.#describe(this.predictions[index])}, ${formatPercent(confidence)}`, uncertain);
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
    this.#networkInput.hidden = true;
    this.#showConfidence(sentence, false);
    this.#showBars(() => 0, null, true);
  }

  #describe({ digit, confidence, uncertain, probabilities }) {
    const label = confidenceLabel(confidence, uncertain);
    const others = probabilities.map((probability, other) => [other === digit ? -1 : probability, other]);
    const [probability, second] = others.reduce((best, other) => (other[0] > best[0] ? other : best));
    const prefixed = this.predictions.length > 1 ? `${digit}: ${label.toLowerCase()}` : label;
    return probability >= MIN_ALTERNATIVE ? `${prefixed}, it could be a ${second}` : prefixed;
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
    if (selectable) element.addEventListener("click", () => this.select(index));
    return element;
  }
}
