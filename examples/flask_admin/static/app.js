// Copy, print, count down, and warn before codes are lost. Every page works without this file.
"use strict";

// A double click sends one form: the answer to the first may hold codes that are shown once.
let sentAt = -Infinity;
addEventListener("submit", (event) => {
  if (event.timeStamp - sentAt < 1000) event.preventDefault();
  else sentAt = event.timeStamp;
});

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    const lines = source.querySelectorAll("[data-line]");
    const text = lines.length ? Array.from(lines, (line) => line.textContent).join("\n") : source.textContent.replace(/\s/g, "");
    const said = document.getElementById("said");
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(source);
      said.textContent = "Selected. Press Ctrl+C or Cmd+C to copy.";
    }
    setTimeout(() => { said.textContent = ""; }, 5000);
  });
}

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

// Times are the server's; only how long is left is counted here, so that a wrong clock on this machine does not matter.
for (const place of document.querySelectorAll("[data-seconds]")) {
  const end = performance.now() + 1000 * place.dataset.seconds;
  const tick = () => {
    const left = Math.ceil((end - performance.now()) / 1000);
    if (left > 0) {
      place.textContent = `, in ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
      setTimeout(tick, 250);
    } else {
      place.setAttribute("aria-live", "polite");
      place.textContent = place.dataset.over;
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
