/** Talk to the service: ask, wait where waiting helps, and say in one sentence what is wrong. */

const PATIENCE = 30_000; // milliseconds for one try
const LONGEST_PAUSE = 5; // seconds between two tries
const AWAY = "The service does not answer";

let key = "";

/** A refusal that asking again does not change. */
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** Send this key from now on; it is kept in memory alone. */
export function useKey(text) {
  key = text;
}

/** After so many milliseconds, or as soon as the signal aborts. */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/**
 * The JSON answer to a request. While the service is away or too busy it is asked again, until the signal aborts.
 *
 * @param {string} path
 * @param {{method?: string, body?: BodyInit, type?: string}} request
 * @param {AbortSignal} signal
 * @param {(sentence: string) => void} onWait told why, each time before it waits
 * @throws {Refused} asking again is of no use
 * @throws {DOMException} AbortError
 */
export async function ask(path, request, signal, onWait) {
  for (let tries = 0; ; tries += 1) {
    const response = await once(path, request, signal);
    signal.throwIfAborted();
    if (response?.ok) return response.document;
    const sentence = response ? sentenceOf(response) : AWAY;
    if (response && ![429, 502, 503, 504].includes(response.status)) throw new Refused(response.status, `${sentence}.`);
    onWait(`${sentence}; trying again.`);
    await pause(1000 * (response?.after || Math.min(2 ** tries, LONGEST_PAUSE)), signal);
    signal.throwIfAborted();
  }
}

/** The predictions for a picture, each digit of a row on its own unless `whole`. */
export function predict(picture, whole, signal, onWait) {
  const type = picture.type.startsWith("image/") ? picture.type : "image/unknown";
  const query = whole ? "?show=image" : "?show=image&split=digits";
  return ask(`/predict${query}`, { method: "POST", body: picture, type }, signal, onWait);
}

/** One try; null if nothing that is HTTP came back. */
async function once(path, { method = "GET", body, type }, signal) {
  const limit = new AbortController();
  const stop = () => limit.abort();
  const timer = setTimeout(stop, PATIENCE);
  signal.addEventListener("abort", stop, { once: true });
  const headers = { ...(type && { "Content-Type": type }), ...(key && { Authorization: `Bearer ${key}` }) };
  try {
    const response = await fetch(path, { method, body, headers, signal: limit.signal });
    const document = await response.json().catch(() => ({}));
    const after = Number(response.headers.get("Retry-After"));
    return { ok: response.ok, status: response.status, document, after };
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}

function sentenceOf({ status, document }) {
  const sentence = document.error ?? `the service answered ${status}`;
  return sentence[0].toUpperCase() + sentence.slice(1);
}
