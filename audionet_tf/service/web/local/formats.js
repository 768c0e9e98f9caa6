// Events as files: the twin of captioning/formats.py. Names are untrusted: what has a meaning in a format is escaped.

import { roundTo } from './rounding.js';

const COLUMNS = ['start_seconds', 'end_seconds', 'name', 'score', 'peak'];
const SEPARATOR = ' · ';
const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };
const LOOKALIKES = { '<': '‹', '>': '›', '{': '(', '}': ')' };  // SRT has no escapes

const translated = (text, table) => text.replace(/[&<>{}]/g, (letter) => table[letter] ?? letter);
const rounded = (event) => COLUMNS.map((key) => (key === 'name' ? event.name : roundTo(event[key], 6)));
const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

// Seconds as 00:00:01.250.
function stamp(seconds) {
  const milliseconds = Math.round(seconds * 1000);
  const parts = [milliseconds / 3600000, (milliseconds / 60000) % 60, (milliseconds / 1000) % 60].map(Math.floor);
  return `${parts.map((part) => String(part).padStart(2, '0')).join(':')}.${String(milliseconds % 1000).padStart(3, '0')}`;
}

function vtt(events, cues) {
  const text = ({ names }) => translated(names.join(SEPARATOR), ESCAPES);
  return ['WEBVTT\n', ...cues.map((cue) => `${stamp(cue.start)} --> ${stamp(cue.end)}\n${text(cue)}\n`)].join('\n');
}

function srt(events, cues) {
  const blocks = cues.map((cue, i) => {
    const times = `${stamp(cue.start)} --> ${stamp(cue.end)}`.replaceAll('.', ',');
    return `${i + 1}\n${times}\n${translated(cue.names.join(SEPARATOR), LOOKALIKES)}\n`;
  });
  return blocks.join('\n') || '\n';
}

function json(events, cues, about) {
  const objects = events.map((event) => Object.fromEntries(rounded(event).map((value, i) => [COLUMNS[i], value])));
  return `${JSON.stringify({ ...about, events: objects }, null, 1)}\n`;
}

function csv(events) {
  const decimal = (value) => (Number.isInteger(value) ? value.toFixed(1) : String(value));
  const cell = (value) => (typeof value === 'number' ? decimal(value) : quoted(value));
  return [COLUMNS, ...events.map(rounded)].map((row) => `${row.map(cell).join()}\r\n`).join('');
}

function labels(events) {
  return events.map((e) => `${e.start_seconds.toFixed(6)}\t${e.end_seconds.toFixed(6)}\t${e.name}\n`).join('');
}

function rttm(events, cues, { file }) {
  const source = file.trim().split(/\s+/).join('_');
  return events.map((e) => (
    `SPEAKER ${source} 1 ${e.start_seconds.toFixed(3)} ${(e.end_seconds - e.start_seconds).toFixed(3)} <NA> <NA> ` +
    `${e.name.replaceAll(' ', '_')} <NA> <NA>\n`
  )).join('');
}

// Format to its media type and a function (events, cues, about) -> text. `about`: what the JSON says of the file.
export const FORMATS = {
  json: ['application/json', json],
  vtt: ['text/vtt', vtt],
  srt: ['application/x-subrip', srt],
  csv: ['text/csv', csv],
  labels: ['text/plain', labels],
  rttm: ['text/plain', rttm],
};
