// Times onnxruntime-web on the image tower that `cargo xtask bench web` wrote as ONNX.
window.measure = async (provider, side, warm, runs) => {
  const ort = await import(provider === "webgpu" ? "./ort/ort.webgpu.min.mjs" : "./ort/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("./ort/", location.href).href;
  const session = await ort.InferenceSession.create("model.onnx", { executionProviders: [provider], graphOptimizationLevel: "all" });
  const times = [];
  for (let run = 0; run < warm + runs; run += 1) {
    const pixels = Float32Array.from({ length: 3 * side * side }, (_, index) => Math.sin(index * 0.37 + run));
    const began = performance.now();
    const outputs = await session.run({ [session.inputNames[0]]: new ort.Tensor("float32", pixels, [1, 3, side, side]) });
    await outputs[session.outputNames[0]].getData();
    if (run >= warm) times.push(performance.now() - began);
  }
  return times;
};
