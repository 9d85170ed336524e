/** What was read: the digits, large, and for the one that is chosen the bars, the words, and what the network saw. */

const SURE = [[0.999, "Certain"], [0.99, "Very sure"], [0.95, "Sure"], [0, "Fairly sure"]];
const THIRD = 0.05; // a second choice that is less likely is not named

/** A confidence in words; service/web/ui.py says the same. */
export function words(confidence, uncertain) {
  return uncertain ? "Not sure" : SURE.find(([least]) => confidence >= least)[1];
}

/** In per cent, rounded down, and never all of it. */
export function percent(confidence) {
  return confidence >= 0.999 ? "over 99.9 %" : `${(Math.floor(confidence * 1000) / 10).toFixed(1)} %`;
}

/** The digits of predictions as one text. */
export function textOf(predictions) {
  return predictions.map(({ digit }) => digit).join("");
}

/** The index of the least confident prediction. */
export function weakest(predictions) {
  return predictions.reduce((low, { confidence }, index) => (confidence < predictions[low].confidence ? index : low), 0);
}

/** One sentence for predictions: "7: certain, over 99.9 %." */
export function sentenceOf(predictions) {
  const { confidence, uncertain } = predictions[weakest(predictions)];
  return `${textOf(predictions)}: ${words(confidence, uncertain).toLowerCase()}, ${percent(confidence)}.`;
}

export class Answer {
  #number;
  #seen;
  #words;
  #bars;
  #onChoose;
  predictions = [];
  chosen = 0;

  /** @param {(index: number) => void} onChoose one of several digits was chosen */
  constructor({ number, seen, words: line, bars }, onChoose) {
    this.#number = number;
    this.#seen = seen;
    this.#words = line;
    this.#bars = [...bars.children];
    this.#onChoose = onChoose;
  }

  /** Show predictions, the weakest of them chosen. */
  show(predictions) {
    this.predictions = predictions;
    this.#number.style.setProperty("--count", predictions.length);
    this.#number.replaceChildren(...predictions.map((one, index) => this.#digit(one, index)));
    this.choose(weakest(predictions));
  }

  /** Show the bars of one of them. */
  choose(index) {
    this.chosen = index;
    const { digit, confidence, uncertain, probabilities, image } = this.predictions[index];
    [...this.#number.children].forEach((child, other) => child.setAttribute("aria-pressed", other === index));
    this.#seen.src = `data:image/png;base64,${image}`;
    this.#seen.hidden = false;
    this.#say(`${this.#sure(digit, confidence, uncertain, probabilities)}, ${percent(confidence)}`, uncertain);
    this.#fill((other) => probabilities[other], digit, false);
    this.#onChoose(index);
  }

  /** Show that there is no answer, and why. */
  none(sentence) {
    this.predictions = [];
    this.#number.replaceChildren();
    this.#seen.hidden = true;
    this.#say(sentence, false);
    this.#fill(() => 0, null, true);
  }

  #sure(digit, confidence, uncertain, probabilities) {
    const sure = words(confidence, uncertain);
    const others = probabilities.map((share, other) => [other === digit ? -1 : share, other]);
    const [share, second] = others.reduce((high, one) => (one[0] > high[0] ? one : high));
    const which = this.predictions.length > 1 ? `${digit}: ${sure.toLowerCase()}` : sure;
    return share >= THIRD ? `${which}, it could be a ${second}` : which;
  }

  #say(sentence, doubtful) {
    this.#words.textContent = sentence;
    this.#words.classList.toggle("doubtful", doubtful);
  }

  #fill(shareOf, first, disabled) {
    for (const [digit, item] of this.#bars.entries()) {
      const share = shareOf(digit);
      item.style.setProperty("--share", share);
      item.classList.toggle("first", digit === first);
      item.classList.remove("told");
      item.querySelector(".share").textContent = disabled ? "" : `, ${percent(share)}`;
      item.firstElementChild.disabled = disabled;
    }
  }

  /** One of several is a button, one alone is text. */
  #digit({ digit, uncertain }, index) {
    const several = this.predictions.length > 1;
    const element = document.createElement(several ? "button" : "span");
    element.textContent = digit;
    element.classList.toggle("doubtful", uncertain);
    if (several) element.addEventListener("click", () => this.choose(index));
    return element;
  }
}
