/** HTTP requests to the service: timeouts, retries while it is overloaded or unreachable, errors as sentences. */

const REQUEST_TIMEOUT = 30_000; // milliseconds, for one attempt
const MAX_RETRY_DELAY = 5; // seconds
const RETRYABLE_STATUSES = [429, 502, 503, 504];
const UNREACHABLE = "The service does not respond";

/** The service, below whatever path a proxy publishes it: this module is static/DIGEST/api.js there. */
const SERVICE = new URL("../../", import.meta.url);

let apiKey = "";

/** An error response that a retry would not change. */
export class ApiError extends Error {
  /**
   * @param {number} status HTTP status
   * @param {string} message one sentence for the user
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Send this API key with every request from now on. It is held in memory only.
 *
 * @param {string} key
 */
export function setApiKey(key) {
  apiKey = key;
}

/**
 * Resolve after a delay, or as soon as the signal aborts.
 *
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 */
export function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/**
 * Send a request and return the JSON of the response. While the service is unreachable or overloaded, the request is
 * repeated until the signal aborts: after Retry-After, else with exponential backoff.
 *
 * @param {string} path relative to the service: "model"
 * @param {{method?: string, body?: BodyInit, type?: string}} request
 * @param {AbortSignal} signal
 * @param {(sentence: string) => void} onRetry called with the reason before each retry
 * @returns {Promise<object>}
 * @throws {ApiError} an error response that a retry would not change
 * @throws {DOMException} AbortError
 */
export async function requestJson(path, request, signal, onRetry) {
  for (let retries = 0; ; retries += 1) {
    const response = await sendOnce(path, request, signal);
    signal.throwIfAborted();
    if (response?.ok) return response.document;
    const message = response ? errorMessage(response) : UNREACHABLE;
    if (response && !RETRYABLE_STATUSES.includes(response.status)) throw new ApiError(response.status, `${message}.`);
    onRetry(`${message}; trying again.`);
    await sleep(1000 * (response?.retryAfter || Math.min(2 ** retries, MAX_RETRY_DELAY)), signal);
    signal.throwIfAborted();
  }
}

/**
 * Predict the digits on a picture.
 *
 * @param {Blob} picture
 * @param {boolean} split whether the digits of a row are predicted one by one; else the picture is one digit
 * @param {AbortSignal} signal
 * @param {(sentence: string) => void} onRetry
 * @returns {Promise<{version: string, predictions: object[]}>} the response of POST /predict
 * @throws {ApiError}
 */
export function predict(picture, split, signal, onRetry) {
  const type = picture.type.startsWith("image/") ? picture.type : "image/unknown";
  const query = split ? "?show=image&split=digits" : "?show=image";
  return requestJson(`predict${query}`, { method: "POST", body: picture, type }, signal, onRetry);
}

/** One attempt; null if no HTTP response was received in time. */
async function sendOnce(path, { method = "GET", body, type }, signal) {
  const attempt = new AbortController();
  const abort = () => attempt.abort();
  const timer = setTimeout(abort, REQUEST_TIMEOUT);
  signal.addEventListener("abort", abort, { once: true });
  const headers = { ...(type && { "Content-Type": type }), ...(apiKey && { Authorization: `Bearer ${apiKey}` }) };
  try {
    const response = await fetch(new URL(path, SERVICE), { method, body, headers, signal: attempt.signal });
    const document = await response.json().catch(() => ({}));
    const retryAfter = Number(response.headers.get("Retry-After"));
    return { ok: response.ok, status: response.status, document, retryAfter };
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

function errorMessage({ status, document }) {
  const message = document.error ?? `the service responded with status ${status}`;
  return message[0].toUpperCase() + message.slice(1);
}
