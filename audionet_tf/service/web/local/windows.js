// Cuts sound into the windows of the student: the twin of inference/windows.py with windows that cover the sound to its end.

import { roundEven } from './rounding.js';

// [{ start, end, first }, ...]: seconds, and the number of the first sample. At least one window.
//   samples: of the sound; student: labels.json
export function windows(samples, { window: [numerator, denominator], window_samples: size, sample_rate_hz: rate }) {
  const cut = [];
  for (let k = 0; ; k++) {
    const first = roundEven((k * numerator * rate) / denominator);
    if (first + size > samples) break;
    cut.push({ start: (k * numerator) / denominator, end: ((k + 1) * numerator) / denominator, first });
  }
  const covered = cut.length ? cut.at(-1).first + size : 0;
  if (covered < samples) {
    const first = Math.max(0, samples - size);  // the last window ends with the sound
    cut.push({ start: first / rate, end: first / rate + numerator / denominator, first });
  }
  return cut;
}

// The samples of a window in [-1, 1]; sound that is too short is repeated, or silence follows.
export function samplesOf(pcm, first, { window_samples: size, repeats_short_sound: repeats }) {
  const samples = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const at = repeats ? (first + i) % pcm.length : first + i;
    samples[i] = (pcm[at] ?? 0) / 32768;
  }
  return samples;
}

// How often the sound is in a window, the last time perhaps in part.
export function repetitions(samples, { window_samples: size, repeats_short_sound: repeats }) {
  return repeats ? Math.ceil(size / Math.min(samples, size)) : 1;
}

// Yields { start, end, probabilities } of the windows of a sound, int16 [n]. `predict`: see model.js.
export async function* rows(pcm, student, predict) {
  const seconds = pcm.length / student.sample_rate_hz;
  for (const { start, end, first } of windows(pcm.length, student)) {
    const probabilities = await predict(samplesOf(pcm, first, student));
    yield { start, end: student.repeats_short_sound ? Math.min(end, seconds) : end, probabilities };
  }
}

// The probabilities of live samples, f32 of the length of a window.
export function classify(samples, student, predict) {
  return predict(samples);
}
