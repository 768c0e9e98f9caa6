// A student with steps in time over a whole sound, a row per step: the twin of inference/steps.py and inference/chunking.py.

const clip = (value, low, high) => Math.min(Math.max(value, low), high);

// The receptive field of step 0: { size, stride, start }, in samples. `start` is negative in the padding.
//   table: [[kernel, stride, padding], ...]
function field(table) {
  let [size, stride, start] = [1, 1, 0];
  for (const [kernel, hop, padding] of table) {
    size += (kernel - 1) * stride;
    start -= padding * stride;
    stride *= hop;
  }
  return { size, stride, start };
}

// Number of steps that so many samples give.
function stepCount(samples, table) {
  for (const [kernel, hop, padding] of table) {
    samples = samples && Math.max(0, Math.floor((samples + 2 * padding - kernel) / hop) + 1);
  }
  return samples;
}

// How often a sound is repeated that is too short for a step.
export function repetitions(samples, { steps, repeats_short_sound: repeats }) {
  return repeats ? Math.ceil(steps.shortest_samples / Math.min(samples, steps.shortest_samples)) : 1;
}

// Samples of the sound with its repetitions, or with the silence that fills the last step.
function filledLength(samples, student) {
  if (student.repeats_short_sound) return samples * repetitions(samples, student);
  const { size, stride } = field(student.steps.table);
  return size + Math.ceil(Math.max(0, samples - size) / stride) * stride;
}

// [{ first, samples, begin, end }, ...]: the pieces of a sound, and the steps of the whole that are read from each.
function pieces(length, { table, piece_samples: most }) {
  const { size, stride, start } = field(table);
  const total = stepCount(length, table);
  const inside = (samples) => Math.max(0, Math.floor((samples - size - start) / stride) + 1);
  const cut = [];
  for (let [first, begin] = [0, 0]; begin < total;) {
    const isLast = length - first <= most;
    const end = isLast ? total : Math.max(begin, inside(first + most));
    cut.push({ first, samples: Math.min(most, length - first), begin, end });
    begin = end;
    first = Math.max(0, Math.floor((start + begin * stride) / stride) * stride);
  }
  return cut;
}

// [{ start, end }, ...] of the rows, in seconds. Time is divided halfway between the centres of the steps; the first and
// the last row have all of the sound in their receptive fields.
function times(count, sound, { steps, sample_rate_hz: rate }) {
  const { size, stride, start } = field(steps.table);
  return Array.from({ length: count }, (_, row) => {
    const center = start + (size - 1) / 2 + row * stride;
    const [begin, end] = [-1, 1].map((side) => clip(center + (side * stride) / 2, 0, sound));
    return {
      start: (row ? begin : Math.min(begin, Math.max(0, center - size / 2))) / rate,
      end: (row + 1 < count ? end : Math.max(end, Math.min(sound, center + size / 2))) / rate,
    };
  });
}

// The probabilities of the steps of a piece: [f32 [classes], ...].
//   piece: f32, not longer than a piece
async function stepsOf(piece, { steps, classes }, predict) {
  const waveform = new Float32Array(steps.piece_samples);
  waveform.set(piece);
  const probabilities = await predict(waveform, piece.length);
  const row = (_, i) => probabilities.subarray(i * classes, (i + 1) * classes);
  return Array.from({ length: stepCount(piece.length, steps.table) }, row);
}

function mean(rows) {
  return Float32Array.from(rows[0], (_, n) => rows.reduce((sum, row) => sum + row[n], 0) / rows.length);
}

// Yields { start, end, probabilities } of the rows of a sound, int16 [n]. Sound that is repeated has one row, their mean.
//   predict: see model.js
export async function* rows(pcm, student, predict) {
  const { steps } = student;
  const repeated = repetitions(pcm.length, student);
  const length = filledLength(pcm.length, student);
  const sample = (at) => (pcm[repeated > 1 ? at % pcm.length : at] ?? 0) / 32768;
  const time = times(stepCount(length, steps.table), pcm.length, student);
  const { stride } = field(steps.table);
  const held = [];
  for (const { first, samples, begin, end } of pieces(length, steps)) {
    const piece = Float32Array.from({ length: samples }, (_, i) => sample(first + i));
    const before = first / stride;
    const kept = (await stepsOf(piece, student, predict)).slice(begin - before, end - before);
    if (repeated > 1) held.push(...kept);
    else for (const [i, probabilities] of kept.entries()) yield { ...time[begin + i], probabilities };
  }
  if (held.length) yield { start: 0, end: pcm.length / student.sample_rate_hz, probabilities: mean(held) };
}

// The probabilities of live samples, f32: the mean of their steps.
export async function classify(samples, student, predict) {
  return mean(await stepsOf(samples, student, predict));
}
