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

// The probabilities of a window, f32 [samples] in [-1, 1]: f32 [classes].
export async function predict(window) {
  const student = await load();
  const input = new Tensor(window, [1, window.length]);
  const [output] = await student.run([input]);
  const probabilities = output.toTypedArray().slice();
  input.delete();
  output.delete();
  if (!probabilities.every(Number.isFinite)) throw new Error('the outputs of the student are not finite');
  return probabilities;
}
