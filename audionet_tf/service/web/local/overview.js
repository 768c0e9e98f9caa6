// What the timeline draws: waveform, spectrogram, classes over time. The twin of service/captions/timeline.py and media/overview.py.

import { roundEven, roundTo } from './rounding.js';

const MOST_COLUMNS = 1200;  // of the timeline
const MOST_MEL_COLUMNS = 2048;
const BANDS = 48;
const FLOOR_DECIBELS = -70;
const LOWEST_HZ = 50;
const WINDOW_SECONDS = 0.025;
const HOP_SECONDS = 0.01;
const TIMELINE_CLASSES = 10;
const TOP = 5;

// The smallest power of two such that fewer than `most` whole groups of it fit into `count`.
function doubled(count, most) {
  let size = 1;
  while (Math.floor(count / size) >= most) size *= 2;
  return size;
}

// Lowest and highest sample, in percent of full scale, of blocks of int16 samples.
function envelope(pcm) {
  const block = doubled(pcm.length, 2 * MOST_COLUMNS);
  const [low, high] = [[], []];
  for (let begin = 0; begin < pcm.length; begin += block) {
    let [least, most] = [32767, -32768];
    for (let i = begin; i < Math.min(begin + block, pcm.length); i++) {
      if (pcm[i] < least) least = pcm[i];
      if (pcm[i] > most) most = pcm[i];
    }
    low.push(roundEven((100 * least) / 32768));
    high.push(roundEven((100 * most) / 32768));
  }
  return { low, high, block };
}

// The power spectrum of real frames of `size` samples, a power of two, by the radix-2 FFT.
function powerSpectrum(size) {
  const bits = Math.log2(size);
  const reversed = Uint32Array.from({ length: size }, (_, i) => {
    let [rest, out] = [i, 0];
    for (let bit = 0; bit < bits; bit++, rest >>= 1) out = (out << 1) | (rest & 1);
    return out;
  });
  const cosines = Float64Array.from({ length: size / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / size));
  const sines = Float64Array.from({ length: size / 2 }, (_, i) => -Math.sin((2 * Math.PI * i) / size));
  const real = new Float64Array(size);
  const imaginary = new Float64Array(size);
  const power = new Float64Array(size / 2 + 1);
  return (frame) => {
    for (let i = 0; i < size; i++) real[i] = frame[reversed[i]];
    imaginary.fill(0);
    for (let half = 1; half < size; half *= 2) {
      const stride = size / (2 * half);
      for (let begin = 0; begin < size; begin += 2 * half) {
        for (let k = 0; k < half; k++) {
          const [a, b] = [begin + k, begin + k + half];
          const [cosine, sine] = [cosines[k * stride], sines[k * stride]];
          const re = real[b] * cosine - imaginary[b] * sine;
          const im = real[b] * sine + imaginary[b] * cosine;
          real[b] = real[a] - re;
          imaginary[b] = imaginary[a] - im;
          real[a] += re;
          imaginary[a] += im;
        }
      }
    }
    for (let i = 0; i < power.length; i++) power[i] = real[i] ** 2 + imaginary[i] ** 2;
    return power;
  };
}

const mel = (hertz) => 1127 * Math.log1p(hertz / 700);

// Per band { first bin, weights }: triangles of height 1, linear in mel.
function melBands(size, rate) {
  const [low, high] = [mel(LOWEST_HZ), mel(rate / 2)];
  const edge = (i) => low + ((high - low) * i) / (BANDS + 1);
  return Array.from({ length: BANDS }, (_, band) => {
    const weights = Array.from({ length: size / 2 + 1 }, (_, bin) => {
      const at = mel((bin * rate) / size);
      const rising = (at - edge(band)) / (edge(band + 1) - edge(band));
      const falling = (edge(band + 2) - at) / (edge(band + 2) - edge(band + 1));
      return bin ? Math.max(0, Math.min(rising, falling)) : 0;
    });
    const first = Math.max(0, weights.findIndex((weight) => weight > 0));
    return { first, weights: weights.slice(first, weights.findLastIndex((weight) => weight > 0) + 1) };
  });
}

// Mean power of the mel bands in columns of `perColumn` frames: f64 arrays [BANDS]. `rest`: awaited now and then.
async function melColumns(pcm, rate, rest) {
  const length = Math.max(2, roundEven(WINDOW_SECONDS * rate));
  const hop = Math.max(1, roundEven(HOP_SECONDS * rate));
  const size = 2 ** Math.ceil(Math.log2(length));
  const hann = Float64Array.from({ length }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / length));
  const [spectrum, bands, frame] = [powerSpectrum(size), melBands(size, rate), new Float64Array(size)];
  const count = Math.max(1, 1 + Math.floor((pcm.length - length) / hop));
  const perColumn = doubled(count, MOST_MEL_COLUMNS);
  const columns = [];
  for (let begin = 0; begin < count; begin += perColumn) {
    const frames = Math.min(perColumn, count - begin);
    const sums = new Float64Array(BANDS);
    for (let number = begin; number < begin + frames; number++) {
      for (let i = 0; i < length; i++) frame[i] = ((pcm[number * hop + i] ?? 0) / 32768) * hann[i];
      const power = spectrum(frame);
      bands.forEach(({ first, weights }, band) => {
        for (let i = 0; i < weights.length; i++) sums[band] += weights[i] * power[first + i];
      });
    }
    columns.push(sums.map((sum) => sum / frames));
    await rest();
  }
  return { columns, seconds: (perColumn * hop) / rate };
}

const highest = (lists) => lists.reduce((most, list) => most.map((value, i) => Math.max(value, list[i])));

// `reduce` over successive groups of `size` items.
function grouped(items, size, reduce) {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => reduce(items.slice(i * size, (i + 1) * size)));
}

// The sound, int16 samples, reduced for a drawing; see `picture` in service/captions/timeline.py.
export async function picture(pcm, rate, rest) {
  const { low, high, block } = envelope(pcm);
  const { columns, seconds } = await melColumns(pcm, rate, rest);
  const most = columns.reduce((value, column) => Math.max(value, ...column), 1e-10);
  const group = Math.ceil(columns.length / MOST_COLUMNS);
  const relative = columns.map((column) => column.map((value) => 10 * Math.log10(Math.max(value / most, 1e-10))));
  const decibels = grouped(relative, group, highest);
  const levels = decibels.flatMap((column) => (
    Array.from(column, (value) => Math.floor(Math.min(255, Math.max(0, 255 * (1 - value / FLOOR_DECIBELS)))))
  ));
  return {
    wave: { low, high, block_seconds: block / rate },
    mel: {
      columns: decibels.length, bands: BANDS, column_seconds: seconds * group,
      levels: btoa(levels.map((level) => String.fromCharCode(level)).join('')),
    },
  };
}

// The scores of a timeline; see `classes_over_time` in service/captions/timeline.py.
export function classesOverTime({ starts, ends, rows, seconds }, names) {
  const group = Math.ceil(starts.length / MOST_COLUMNS);
  const columns = grouped(rows, group, highest).map((row) => Array.from(row, (value) => Math.fround(100 * value)));
  const all = names.map((_, n) => n);
  const best = columns.map((row) => [...all].sort((a, b) => row[b] - row[a]).slice(0, TOP));
  const weight = all.map((n) => (
    columns.reduce((most, row) => Math.max(most, row[n]), 0) + columns.reduce((sum, row) => sum + row[n], 0) / columns.length
  ));
  const bars = [...all].sort((a, b) => weight[b] - weight[a]).slice(0, TIMELINE_CLASSES);
  const used = [...new Set([...best.flat(), ...bars])].sort((a, b) => a - b);
  const place = new Map(used.map((n, i) => [n, i]));
  const inside = ends.map((end) => Math.min(end, seconds));
  return {
    start_seconds: starts.filter((_, i) => i % group === 0).map((value) => roundTo(value, 3)),
    end_seconds: grouped(inside, group, (list) => roundTo(Math.max(...list), 3)),
    names: used.map((n) => names[n]),
    bars: bars.map((n) => ({ name: place.get(n), values: columns.map((row) => roundTo(row[n], 1)) })),
    top: best.map((order, i) => order.map((n) => [place.get(n), roundTo(columns[i][n], 1)])),
  };
}
