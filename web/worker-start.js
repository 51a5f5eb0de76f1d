// Starts the worker. What its program cannot report any more, because it died, is reported
// from here, as a plain text. Of an end that nothing here outlives, the page learns by this lock:
// the worker holds it, under its own name, for as long as it lives.
// Where the browser keeps nothing for the page, it refuses the lock too: the worker does without.
const VERSION = "unsealed";
navigator.locks?.request(self.name, () => new Promise(() => {})).catch(() => {});
const died = (cause) => postMessage(String((cause && cause.message) || cause || "unknown cause"));
addEventListener("unhandledrejection", (event) => died(event.reason));
addEventListener("error", (event) => { event.preventDefault(); died(event.error || event.message); });
if (location.search === `?${VERSION}`) {
  import(`./worker.js?${VERSION}`)
    .then((program) => program.default({ module_or_path: new URL(`worker_bg.wasm?${VERSION}`, location) }))
    .catch(died);
} else {
  // The page is of another version, and would not understand this one, or take it wrongly.
  postMessage(['"outdated"']);
}
