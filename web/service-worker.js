// Keeps the page's own files, so that it opens with no network. `cargo xtask seal` writes the
// version and the list; without it nothing is kept. Bundles are kept by the page's worker.
const VERSION = "unsealed";
const FILES = [];

// Another page of this origin may be the same program at another address.
const own = `negprompt-page ${registration.scope} `;
const kept = own + VERSION;
const address = (file) => new URL(file, registration.scope).href;
const addresses = new Set(FILES.map(address));

addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(kept);
    await cache.addAll(FILES.map((file) => new Request(address(file), { cache: "no-cache" })));
  })());
});

addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith(own) && name !== kept) await caches.delete(name);
    }
    await clients.claim();
  })());
});

// Milliseconds after which the page is taken from here though the network may still bring it.
const PATIENCE = 3000;

// The page itself comes from the network where that answers: a reload brings a newer version at once.
// The parts of that one are not among the files here and come from the network too.
async function newest(page) {
  const late = new Promise((_, refuse) => setTimeout(refuse, PATIENCE, new Error("late")));
  const response = await Promise.race([fetch(page, { cache: "no-cache" }), late]);
  if (!response.ok || response.redirected) throw new Error("not the page");
  return response;
}

addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  // Files that keep their name from version to version are asked for with their version, and one
  // of another version is none of these. What stands behind the page's own address is not.
  const wanted = url.split(mode === "navigate" ? /[?#]/ : "#", 1)[0];
  if (method !== "GET" || !addresses.has(wanted)) return;
  event.respondWith((async () => {
    const page = mode === "navigate" && await newest(wanted).catch(() => undefined);
    if (page) return page;
    // A browser whose storage is broken still has the network.
    const own = await caches.open(kept).then((cache) => cache.match(wanted)).catch(() => undefined);
    return own || fetch(event.request);
  })());
});
