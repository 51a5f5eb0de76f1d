import start, { product, score } from "./bench.js";
await start();
window.score = score;
window.product = product;
