/** "Try it" of the page /docs: sends a picture to POST /predict, and shows the response. Without it, the form opens the
 * web page with the predictions. */

import { SERVICE } from "./api.js";

const form = document.querySelector(".try-it");
const status = document.getElementById("try-status");
const output = document.getElementById("try-response");

/** The query string with the parameters that are chosen. */
function chosenQuery() {
  const chosen = [...form.querySelectorAll("[data-parameter]")].filter((select) => select.value);
  return new URLSearchParams(chosen.map((select) => [select.dataset.parameter, select.value])).toString();
}

/** Send the picture; show status and time, and the response as it was received. */
async function send() {
  const query = chosenQuery();
  const target = new URL(query ? `predict?${query}` : "predict", SERVICE);
  const key = document.getElementById("try-key")?.value;
  const body = new FormData();
  body.append("file", document.getElementById("try-file").files[0]);
  const started = performance.now();
  const response = await fetch(target, {
    method: "POST",
    body,
    headers: key ? { Authorization: `Bearer ${key}` } : {},
  });
  const text = await response.text();
  const milliseconds = Math.round(performance.now() - started);
  status.textContent = `POST ${target.pathname}${target.search}: ${response.status}, after ${milliseconds} ms`;
  output.textContent = text;
  output.hidden = false;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  status.textContent = "Sending…";
  output.hidden = true;
  try {
    await send();
  } catch {
    status.textContent = "The service does not respond.";
  } finally {
    button.disabled = false;
  }
});
