// Events to cues that follow one another, and cues that can be read: the twin of `cues` in captioning/event_detection.py.

import { EPSILON_SECONDS } from './detection.js';
import { roundTo } from './rounding.js';

const milli = (seconds) => roundTo(seconds, 3);
const unique = (names, top) => [...new Set(names)].slice(0, top || undefined);
const same = (a, b) => a.length === b.length && a.every((name, i) => name === b[i]);

// [{ start, end, names }, ...] of events. `top`: names in a cue, 0 for all; `shortest`, `seconds`: as for `readable`.
export function cues(events, top = 0, shortest = 0, seconds = Infinity) {
  const changes = new Map();
  const change = (time, begins, event) => changes.set(time, [...(changes.get(time) ?? []), [begins, event]]);
  for (const event of events) {
    const [begin, end] = [milli(event.start_seconds), milli(event.end_seconds)];
    if (begin < end) {
      change(begin, true, event);
      change(end, false, event);
    }
  }
  const times = [...changes.keys()].sort((a, b) => a - b);
  const active = new Set();
  const exact = [];
  times.slice(0, -1).forEach((time, i) => {
    for (const [begins, event] of changes.get(time)) active[begins ? 'add' : 'delete'](event);
    const ranked = [...active].sort((a, b) => b.score - a.score || (a.name < b.name ? -1 : 1));
    const names = unique(ranked.map(({ name }) => name), top);
    const last = exact.at(-1);
    if (names.length && last?.end === time && same(last.names, names)) last.end = times[i + 1];
    else if (names.length) exact.push({ start: time, end: times[i + 1], names });
  });
  return shortest ? readable(exact, top, shortest, seconds) : exact;
}

// Cues without flicker: each is shown for `shortest` seconds, unless the whole sound, of `seconds`, is shorter.
function readable(exact, top, shortest, seconds) {
  const least = shortest - EPSILON_SECONDS;
  const shown = [];
  let early = null;
  exact.forEach((cue, i) => {
    const following = exact[i + 1];
    const last = shown.at(-1) ?? { start: -Infinity, end: -Infinity, names: [] };
    const start = Math.max(last.end, early ?? cue.start);
    early = null;
    const brief = cue.end - start < least;
    const touches = following?.start === cue.end && following.end - following.start >= least;
    const after = touches ? following.names : [];
    const before = last.end === start ? last.names : [];
    const end = Math.max(cue.end, milli(Math.min(start + shortest, seconds)));
    const among = (names) => cue.names.every((name) => names.includes(name));
    if (cue.end <= start) add(last, cue, top);
    else if (before.length && (same(cue.names, before) || (brief && among([...before, ...after])))) last.end = cue.end;
    else if (brief && among(after)) early = start;
    else if (end - start >= least) shown.push({ start, end, names: cue.names });
    else if (end - last.start < least + shortest) add(last, cue, top);  // the sound ends: no time for both
    else {  // the sound ends: begin earlier
      const begin = Math.max(0, milli(end - shortest));
      last.end = Math.min(last.end, begin);
      shown.push({ start: begin, end, names: cue.names });
    }
  });
  return shown;
}

// Shows the names of a later cue too, as long as that lasts.
function add(last, cue, top) {
  last.names = unique([...last.names, ...cue.names], top);
  last.end = Math.max(last.end, cue.end);
}
