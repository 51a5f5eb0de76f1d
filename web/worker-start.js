// Starts the worker. What its program cannot report any more, because it died, is reported
// from here, as a plain text.
const died = (cause) => postMessage(String((cause && cause.message) || cause || "unknown cause"));
addEventListener("unhandledrejection", (event) => died(event.reason));
addEventListener("error", (event) => { event.preventDefault(); died(event.error || event.message); });
import("./worker.js").then((program) => program.default()).catch(died);
