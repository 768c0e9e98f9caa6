// Scores from the student in this folder: nothing leaves the browser. The interface is that of service.js.

import { getJson } from '../page.js';
import { clock } from '../timeline.js';
import { cues } from './cues.js';
import { UNKNOWN, detect, pooled, unknownSeconds } from './detection.js';
import { FORMATS } from './formats.js';
import { classesOverTime, picture } from './overview.js';
import { half, roundTo } from './rounding.js';
import * as steps from './steps.js';
import * as windows from './windows.js';

const LIMITS = { upload_bytes: 2 ** 31, sound_seconds: 3600, download_hosts: [], formats: Object.keys(FORMATS) };
const PAUSE_MS = 50;  // after so much work the page has its turn

let student = null;  // labels.json
let shown = null;  // the latest result: { id, file, frames, timeline, ... }
let results = 0;
const files = new Map();  // format to the address of a file with captions; all of one result and threshold
let filesAre = '';  // of which

async function about() {
  try {
    student ??= await getJson(new URL('../labels.json', import.meta.url));
  } catch {
    throw new Error('labels.json is missing: write the folder again, by audionet_tf.export --web.');
  }
  if (globalThis.document) import('./model.js').then(({ load }) => load()).catch(() => {});  // who needs it is told
  return { ...student, ...LIMITS };
}

// A function that gives the page its turn from time to time. It throws once the signal is aborted.
function pauses(signal) {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < PAUSE_MS) return;
    await new Promise((resolve) => setTimeout(resolve));
    signal.throwIfAborted();
    since = performance.now();
  };
}

// How the student hears: step by step over the whole sound, or window by window.
const hearing = () => (student.steps ? steps : windows);

// { starts, ends, rows, seconds }: the scores of a sound over time, as detection.js wants them.
async function score(pcm, report, rest) {
  const { predict } = await import('./model.js');
  const seconds = pcm.length / student.sample_rate_hz;
  const [starts, ends, rows] = [[], [], []];
  for await (const { start, end, probabilities } of hearing().rows(pcm, student, predict)) {
    starts.push(start);
    ends.push(end);
    rows.push(pooled(probabilities, student.groups, student.rules.join).map(half));
    report(`Listening: ${clock(start)} of ${clock(seconds)}`, Math.min(1, end / seconds));
    await rest();
  }
  return { starts, ends, rows, seconds };
}

async function caption(file, threshold, report, signal) {
  await about();
  report('Decoding');
  const { decode } = await import('./decode.js');
  const wanted = { rate: student.sample_rate_hz, mono: student.mono, most: LIMITS.sound_seconds };
  const { pcm, warnings } = await decode(file, wanted, report, signal);
  const rest = pauses(signal);
  const frames = await score(pcm, report, rest);
  const drawn = await picture(pcm, student.sample_rate_hz, rest);
  signal.throwIfAborted();
  const timeline = { ...drawn, seconds: frames.seconds, classes: classesOverTime(frames, student.labels) };
  const id = String(++results);
  shown = { id, file: file.name, frames, timeline, warnings, repeats: hearing().repetitions(pcm.length, student) };
  return result(id, threshold);
}

const rules = (threshold) => ({ ...student.rules, threshold });

async function result(id, threshold) {
  const { frames, file, warnings, repeats } = shown;
  const events = detect(frames, student.labels, student.silent, rules(threshold));
  const unknown = student.labels.includes(UNKNOWN)
    ? { unknown_seconds: roundTo(unknownSeconds(frames, student.labels, student.rules), 3) } : {};
  return { id, file, seconds: roundTo(frames.seconds, 3), threshold, repeats, warnings, ...unknown, events };
}

// The address of a file with the captions. It lasts until one of another result or threshold is asked for.
function address(id, format, threshold) {
  const wanted = `${id} ${threshold}`;
  if (filesAre !== wanted) {
    for (const old of files.values()) URL.revokeObjectURL(old);
    files.clear();
    filesAre = wanted;
  }
  if (!files.has(format)) files.set(format, URL.createObjectURL(new Blob(...written(format, threshold))));
  return files.get(format);
}

// What Blob takes: the captions in a format.
function written(format, threshold) {
  const { frames, file } = shown;
  const events = detect(frames, student.labels, student.silent, rules(threshold));
  const { top, cue_seconds: shortest } = student.rules;
  const [type, write] = FORMATS[format];
  const about = { file, seconds: roundTo(frames.seconds, 3), student: student.student, threshold };
  return [[write(events, cues(events, top, shortest, frames.seconds), about)], { type }];
}

// Mean over the examples in live samples.
async function classify(samples) {
  await about();
  const { predict } = await import('./model.js');
  const { examples, samples: length } = student.live;
  const sums = new Float64Array(student.labels.length);
  for (let i = 0; i < examples; i++) {
    const probabilities = await hearing().classify(samples.slice(i * length, (i + 1) * length), student, predict);
    pooled(probabilities, student.groups, student.rules.join).forEach((value, n) => { sums[n] += value / examples; });
  }
  return student.labels.map((name, n) => [name, sums[n]]).sort((a, b) => b[1] - a[1]);
}

export function connect() {
  const timeline = async () => shown.timeline;
  return { needsService: false, keeps: false, about, caption, result, timeline, address, classify };
}
