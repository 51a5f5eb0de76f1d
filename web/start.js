// Starts the page: its program's names stand in the tag that loads this file.
const { js, wasm } = document.getElementById("start").dataset;

// A module whose only function uses a SIMD instruction.
const simd = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);

let refused = false;

function refuse(text, error) {
  if (refused) return;
  refused = true;
  const banner = document.getElementById("banner-template").content.cloneNode(true);
  banner.querySelector("p").textContent = text;
  const button = banner.querySelector("button");
  if (error) {
    banner.querySelector("details").hidden = false;
    banner.querySelector(".detail").textContent = String(error.message || error);
    button.textContent = "Reload";
    button.addEventListener("click", () => location.reload());
  } else {
    button.remove();
  }
  document.getElementById("banners").append(banner);
  document.getElementById("stuck")?.remove();
  document.getElementById("device-short").textContent = "Not running";
  document.getElementById("device-line").dataset.state = "failed";
}

// A program that broke off answers nobody any more.
// What extensions do in the page is not its program's.
const name = js.split("/").pop().replace(/\.js$/, "");
const own = (error) => error instanceof WebAssembly.RuntimeError || String(error.stack || "").includes(name);
const broke = (error) => error && own(error) && refuse("The page's program stopped. Reload the page; photos have to be chosen again.", error);

if (typeof WebAssembly !== "object" || !WebAssembly.validate(simd)) {
  refuse("This browser has no WebAssembly with SIMD, which the model needs. Update it, or open the page in a current Chrome, Edge, Firefox or Safari.");
} else {
  try {
    const program = await import(new URL(js, document.baseURI).href);
    await program.default({ module_or_path: new URL(wasm, document.baseURI) });
    addEventListener("error", (event) => broke(event.error));
    addEventListener("unhandledrejection", (event) => broke(event.reason));
  } catch (error) {
    refuse("The page could not be started. Reload it; if that does not help, its files are incomplete on the server.", error);
  }
  if ("serviceWorker" in navigator) {
    navigator.serviceWorker.register("service-worker.js").catch(() => { /* The page works online without it. */ });
  }
}
