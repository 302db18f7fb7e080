// Copy, print, count down, tell times, and warn before codes are lost. Every page works without this file.
"use strict";

const said = document.getElementById("said");

function say(text) {
  said.textContent = text;
  setTimeout(() => { said.textContent = ""; }, 5000);
}

// A double click sends one form: the answer to the first may hold codes that are shown once.
let sentAt = -Infinity;
addEventListener("submit", (event) => {
  if (event.timeStamp - sentAt < 5000) event.preventDefault();
  else sentAt = event.timeStamp;
});
addEventListener("pageshow", () => { sentAt = -Infinity; });

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    const lines = source.querySelectorAll("[data-line]");
    const text = lines.length ? Array.from(lines, (line) => line.textContent).join("\n") : source.textContent.replace(/\s/g, "");
    try {
      await navigator.clipboard.writeText(text);
      say(document.body.dataset.copied);
    } catch {
      getSelection().selectAllChildren(source);
      say(document.body.dataset.selected);
    }
  });
}

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

// The page tells UTC; the browser knows where its reader is, and which English that is.
const lang = document.documentElement.lang;
const locale = navigator.languages.find((wanted) => wanted.split("-")[0] === lang) ?? lang;
const styles = { clock: { timeStyle: "short" }, day: { dateStyle: "long" }, moment: { dateStyle: "medium", timeStyle: "short" } };
for (const place of document.querySelectorAll("time[data-style]")) {
  const format = new Intl.DateTimeFormat(locale, styles[place.dataset.style]);
  place.textContent = format.format(new Date(place.dateTime));
}

// Times are the server's; only how long is left is counted here, so that a wrong clock on this machine does not matter.
// A screen reader is told the end, and not every second.
for (const place of document.querySelectorAll("[data-seconds]")) {
  const end = performance.now() + 1000 * place.dataset.seconds;
  const tick = () => {
    const left = Math.ceil((end - performance.now()) / 1000);
    if (left > 0) {
      place.textContent = `${place.dataset.left} ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
      setTimeout(tick, 250);
    } else {
      place.textContent = place.dataset.over;
      say(place.dataset.over);
    }
  };
  tick();
}

const codes = document.querySelector("[data-codes]");
if (codes) {
  const warn = (event) => event.preventDefault();
  addEventListener("beforeunload", warn);
  document.querySelector("[data-saved]").addEventListener("submit", () => removeEventListener("beforeunload", warn));
  // Reload and Back lead to the overview, and no copy of this page is kept for either.
  history.replaceState(null, "", codes.dataset.codes);
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}
