// The student, run by LiteRT.

import { Tensor, loadAndCompile, loadLiteRt } from '../vendor/litert.js';

const here = (path) => new URL(path, import.meta.url).href;

let model = null;  // a promise of it

async function open() {
  await loadLiteRt(here('../vendor/litert_wasm_compat_internal.js'));
  return loadAndCompile(here('../model.tflite'), { accelerator: 'wasm' });
}

// Loads the student, once.
export function load() {
  model ??= open().catch((error) => {
    model = null;
    throw new Error(`The student cannot be loaded: ${error.message}`);
  });
  return model;
}

// The probabilities of a window, f32 [samples] in [-1, 1]: f32 [classes]. A student with steps in time takes a piece, of
// which `samples` are sound, and gives f32 [steps x classes].
export async function predict(waveform, samples = 0) {
  const student = await load();
  const inputs = { waveform: new Tensor(waveform, [1, waveform.length]) };
  if (samples) inputs.samples = new Tensor(Int32Array.of(samples), [1]);
  const outputs = await student.run(inputs);
  const probabilities = outputs.probabilities.toTypedArray().slice();
  for (const tensor of [...Object.values(inputs), ...Object.values(outputs)]) tensor.delete();
  if (!probabilities.every(Number.isFinite)) throw new Error('the outputs of the student are not finite');
  return probabilities;
}
