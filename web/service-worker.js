// Keeps the page's own files, so that it opens with no network. `cargo xtask seal` writes the
// version and the list; without it nothing is kept. Bundles are kept by the page's worker.
const VERSION = "unsealed";
const FILES = [];

const kept = `negprompt-page-${VERSION}`;
const address = (file) => new URL(file, registration.scope).href;

addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(kept);
    await cache.addAll(FILES.map((file) => new Request(address(file), { cache: "no-cache" })));
  })());
});

addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith("negprompt-page-") && name !== kept) await caches.delete(name);
    }
    await clients.claim();
  })());
});

addEventListener("fetch", (event) => {
  const url = event.request.url.split(/[?#]/, 1)[0];
  if (event.request.method !== "GET" || !FILES.some((file) => address(file) === url)) return;
  event.respondWith((async () => {
    // A browser whose storage is broken still has the network.
    const own = await caches.open(kept).then((cache) => cache.match(url)).catch(() => undefined);
    return own || fetch(event.request);
  })());
});
