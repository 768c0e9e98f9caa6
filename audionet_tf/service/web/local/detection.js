// Sound event detection: the twin of captioning/event_detection.py, which says why; the tests hold the two together.

import { half, median, roundEven } from './rounding.js';

export const UNKNOWN = 'unknown';
export const EPSILON_SECONDS = 1e-6;
const ONSET_OVERLAP = 0.25;

const micro = (seconds) => roundEven(seconds * 1e6) / 1e6;
const clip = (value, low, high) => Math.min(Math.max(value, low), high);
const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
const byTime = (a, b) => a.start_seconds - b.start_seconds || b.score - a.score || byName(a, b);

// Scores of names, f32, from those of classes. `groups`: indices of each name's classes.
export function pooled(probabilities, groups, join) {
  return Float32Array.from(groups, (group) => {
    const values = group.map((number) => probabilities[number]);
    if (group.length === 1) return values[0];
    if (join === 'max') return Math.max(...values);
    return Math.min(1, values.reduce((sum, value) => Math.fround(sum + value), 0));
  });
}

// Whether each row is of unknown sound: `unknown` is as probable as all other names together.
export function unknownRows(rows, names, rules) {
  const place = rules.join === 'sum' ? names.indexOf(UNKNOWN) : -1;
  return rows.map((row) => place >= 0 && row[place] >= 0.5);
}

// Seconds of the rows in which the sound is unknown; where two overlap, the later one counts.
export function unknownSeconds({ starts, ends, rows, seconds }, names, rules) {
  const isUnknown = unknownRows(rows, names, rules);
  const lengths = starts.map((start, i) => Math.max(0, Math.min(ends[i], starts[i + 1] ?? seconds) - start));
  return lengths.reduce((sum, length, i) => sum + (isUnknown[i] ? length : 0), 0);
}

// The events in a sound, by start: [{ start_seconds, end_seconds, name, score, peak }, ...].
//   frames: { starts, ends, rows, seconds }: times of the rows, their scores, f32 of float16 values, the end of the sound
//   names: of the columns; silent: which of them have no events
//   rules: of event_detection.DetectionConfig, with `threshold`
export function detect(frames, names, silent, rules) {
  const isUnknown = unknownRows(frames.rows, names, rules);
  const place = names.indexOf(UNKNOWN);
  const rows = frames.rows.map((row, i) => (isUnknown[i] ? row.map((value, n) => (n === place ? value : 0)) : row));
  const threshold = half(Math.fround(rules.threshold));
  const starts = frames.starts.map(micro);
  const ends = frames.ends.map(micro);
  const present = names.map((_, n) => n).filter((n) => !silent[n] && rows.some((row) => row[n] >= threshold));
  const hop = hopOf(starts);
  const columns = present.map((n) => smoothed(rows.map((row) => row[n]), hop, rules.smooth_seconds));
  const active = columns.map((values) => values.map((value) => value >= rules.release * threshold));
  if (rules.top) keepTop(active, columns, rules.top);
  const edge = edges(starts, ends);
  const shortest = starts.reduce((least, start, i) => Math.min(least, ends[i] - start), hop);
  const events = present.flatMap((n, column) => {
    const spans = activeRuns(active[column], columns[column], threshold).map(([first, last]) => (
      { first, last, ...atLeast(edge.begins[first], edge.ends[last], shortest) }
    ));
    return spansToEvents(spans, columns[column], names[n], rules);
  });
  const inside = events.sort(byTime).filter((event) => event.start_seconds < frames.seconds);
  return inside.map((event) => ({ ...event, end_seconds: Math.min(event.end_seconds, frames.seconds) }));
}

const hopOf = (starts) => (
  starts.length > 1 ? Math.max(EPSILON_SECONDS, median(starts.slice(1).map((start, i) => start - starts[i]))) : Infinity
);

// A running median, `seconds` long, of a column; its first and last value are repeated outside.
function smoothed(values, hop, seconds) {
  const length = 2 * Math.floor(seconds / hop / 2 + EPSILON_SECONDS) + 1;
  if (length < 3) return values;
  const side = (length - 1) / 2;
  const at = (i) => values[clip(i, 0, values.length - 1)];
  return values.map((_, i) => median(Array.from({ length }, (_, k) => at(i - side + k))));
}

// Switches off all but the `top` highest of the active columns in each row; the first of equal ones stay.
function keepTop(active, columns, top) {
  for (let i = 0; i < (columns[0]?.length ?? 0); i++) {
    const on = active.map((_, n) => n).filter((n) => active[n][i]);
    if (on.length <= top) continue;
    for (const n of on.sort((a, b) => columns[b][i] - columns[a][i]).slice(top)) active[n][i] = false;
  }
}

// Where an event begins whose first row this is, and where one ends whose last row it is.
function edges(starts, ends) {
  const begins = [...starts];
  const stops = [...ends];
  for (let i = 0; i + 1 < starts.length; i++) {
    const overlap = Math.max(0, ends[i] - starts[i + 1]);
    const hop = starts[i + 1] - starts[i];
    const moved = (row) => clip((1 - ONSET_OVERLAP) * (ends[row] - starts[row]) - hop / 2, 0, overlap);
    begins[i + 1] += moved(i + 1);
    stops[i] -= moved(i);
  }
  return { begins, ends: stops };
}

function atLeast(begin, end, shortest) {
  if (end - begin >= shortest) return { begin, end };
  const middle = (begin + end) / 2;
  return { begin: middle - shortest / 2, end: middle + shortest / 2 };
}

// [[first, last], ...]: the runs of active rows whose highest value reaches the threshold.
function activeRuns(active, values, threshold) {
  const runs = [];
  for (let i = 0, first = 0; i < active.length; i++) {
    if (!active[i]) continue;
    if (!active[i - 1]) first = i;
    if (!active[i + 1] && values.slice(first, i + 1).some((value) => value >= threshold)) runs.push([first, i]);
  }
  return runs;
}

// Merges neighbours, then drops events that are too short.
function spansToEvents(spans, values, name, rules) {
  const merged = [];
  for (const span of spans) {
    const before = merged.at(-1);
    if (!before || span.begin - before.end > rules.merge_seconds + EPSILON_SECONDS) merged.push({ ...span });
    else Object.assign(before, { last: span.last, end: span.end });
  }
  const long = merged.filter(({ begin, end }) => end - begin >= rules.shortest_seconds - EPSILON_SECONDS);
  return long.map(({ first, last, begin, end }) => {
    const inside = values.slice(first, last + 1);
    const score = inside.reduce((sum, value) => sum + value, 0) / inside.length;
    return { start_seconds: micro(begin), end_seconds: micro(end), name, score, peak: Math.max(...inside) };
  });
}
