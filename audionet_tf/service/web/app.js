// The page: a file gets captions, the microphone live ones. Where the scores come from, source.js knows.

import { connect } from './source.js';
import { $, MIB, element, say, showBars, threshold, words } from './page.js';
import { cancel, idle, send, tell } from './upload.js';
import { clock, timeline } from './timeline.js';
import { example } from './example.js';
import { toggleMicrophone } from './microphone.js';

const source = connect();
let about = null;  // what it says of itself
let last = null;  // the File that was chosen last
let shown = null;  // what is on the page: { id, name, address, line, classes, events, at, playable }

const seconds = (length) => (length < 1.05 ? 'A second is' : `${Math.round(length)} seconds are`);

const resultAddress = (id, format) => source.address(id, format, threshold());

// Shows a result. `file`: the File that it is of, null where the page does not have it; `isCurrent`:
// whether nobody has chosen another file meanwhile; `end`: what tells of it, `tell` if another file is under way.
async function show(file, result, isCurrent, end = idle) {
  const answer = await source.timeline(result.id);
  if (!isCurrent()) return;
  clear();
  shown = { id: result.id, name: result.file, address: null, classes: answer.classes, at: 0, playable: false };
  if (source.keeps) location.hash = result.id;
  $('name').textContent = result.file;
  $('result').hidden = false;
  $('try').hidden = true;
  shown.line = timeline($('timeline'), answer, { now, seek, toggle });
  $('scale').textContent = shown.line.largest < 95 ? `Classes: full height is ${+shown.line.largest.toFixed(1)} %.` : '';
  play(file);
  showEvents(result.events);
  end(summary(result));
  $('name').focus();
  follow();
  if (result.threshold !== threshold()) await changeThreshold();  // the slider was moved meanwhile
}

// What a result says of its file, in a line.
function summary(result) {
  const count = result.events.length === 1 ? 'One sound' : `${result.events.length} sounds`;
  const repeats = result.repeats > 1 ? ` The file is short and was repeated ${result.repeats} times.` : '';
  const unknown = result.unknown_seconds ? ` ${seconds(result.unknown_seconds)} unlike all that this student knows.` : '';
  const warnings = result.warnings.map((warning) => ` Warning: ${warning}.`).join('');
  return `${count} in ${clock(result.seconds)}.${unknown}${repeats}${warnings}`;
}

// Puts the file of the result into the player; null where there is none.
function play(file) {
  const video = $('video');
  shown.playable = Boolean(file);
  $('fileless').hidden = shown.playable;
  $('unplayable').hidden = true;
  video.hidden = !shown.playable;
  video.className = 'sound';
  if (!file) return;
  shown.address = URL.createObjectURL(file);
  video.src = shown.address;
}

function clear() {
  if (!shown) return;
  shown.line.remove();
  if (shown.address) URL.revokeObjectURL(shown.address);
  $('video').removeAttribute('src');
  $('video').replaceChildren();
  $('result').hidden = true;
  $('try').hidden = false;
  shown = null;
}

// The result that the address of the page names, such as after a reload.
async function restore() {
  const id = location.hash.slice(1);
  if (id === (shown?.id ?? '')) return;
  const isCurrent = () => location.hash.slice(1) === id;
  if (!id) {
    clear();
    return;
  }
  try {
    await show(null, await source.result(id, threshold()), isCurrent, tell);
  } catch (error) {
    if (!isCurrent()) return;
    history.replaceState(null, '', location.pathname);
    clear();
    tell('', `The result in this address cannot be shown: ${error.message}.`);
  }
}

const now = () => (shown.playable ? $('video').currentTime : shown.at);

function seek(seconds) {
  shown.at = seconds;
  if (shown.playable) $('video').currentTime = seconds;
  follow();
}

function toggle() {
  if (!shown.playable) return;
  const video = $('video');
  if (!video.paused) video.pause();
  else video.play().catch((error) => {
    if (error.name !== 'AbortError') say($('problem'), error.message);  // that is a pause soon after
  });
}

function showTrack() {
  const track = document.createElement('track');
  const options = { kind: 'captions', srclang: 'en', label: 'Sounds', default: true, src: resultAddress(shown.id, 'vtt') };
  Object.assign(track, options);
  track.addEventListener('load', () => {
    for (const cue of track.track.cues) cue.line = 0;  // the top line: below are the controls
  });
  $('video').replaceChildren(track);
  track.track.mode = 'showing';
}

// Captions, downloads and the list of events for the present threshold.
function showEvents(events) {
  showTrack();
  $('downloads').replaceChildren(...about.formats.map((format) => {
    const item = document.createElement('li');
    const link = element('a', format.toUpperCase(), 'download');
    const suffix = { labels: 'labels.txt', json: 'events.json', csv: 'events.csv' }[format] ?? format;
    Object.assign(link, { href: resultAddress(shown.id, format), download: `${shown.name}.${suffix}` });
    item.append(link);
    return item;
  }));
  shown.events = events;
  $('events').replaceChildren(...events.map((event) => {
    const item = document.createElement('li');
    const button = element('button', '');
    button.type = 'button';
    button.append(
      element('time', `${clock(event.start_seconds, 1)}–${clock(event.end_seconds, 1)}`),
      element('span', words(event.name)), element('span', `${Math.round(100 * event.score)} %`, 'share'),
    );
    button.addEventListener('click', () => seek(event.start_seconds));
    item.append(button);
    return item;
  }));
  const what = about.unknown ? 'No sound that this student knows' : 'No sound';
  if (!events.length) $('events').append(element('li', `${what} reaches the threshold.`));
}

function showThreshold() {
  const text = `${$('threshold').value} %`;
  $('threshold-shown').textContent = text;
  $('threshold').setAttribute('aria-valuetext', text);
}

async function changeThreshold() {
  if (!shown) return;
  const { id } = shown;
  const chosen = threshold();
  try {
    const result = await source.result(id, chosen);
    if (shown?.id !== id || threshold() !== chosen) return;
    showEvents(result.events);
    $('status').textContent = summary(result);
    follow();
  } catch (error) {
    say($('problem'), error.message);
  }
}

// What belongs to the playhead.
function follow() {
  if (!shown) return;
  const at = now();
  const { classes } = shown;
  let column = classes.start_seconds.findIndex((_, i) => at < classes.end_seconds[i]);
  if (column < 0) column = classes.start_seconds.length - 1;
  showBars($('top'), classes.top[column].map(([name, percent]) => [classes.names[name], percent]));
  [...$('events').children].forEach((item, i) => {
    const event = shown.events[i];
    item.classList.toggle('now', Boolean(event) && at >= event.start_seconds && at < event.end_seconds);
  });
  shown.line.move();
}

function followWhilePlaying() {
  follow();
  if (shown && !$('video').paused && !$('video').ended) requestAnimationFrame(followWhilePlaying);
}

// Captions a File.
function take(file) {
  last = file;
  $('again').disabled = false;
  send(file, source, about, show);
}

function acceptDrops() {
  const drop = $('drop');
  let inside = 0;
  addEventListener('dragenter', () => drop.classList.toggle('over', ++inside > 0));
  addEventListener('dragleave', () => drop.classList.toggle('over', --inside > 0));
  addEventListener('dragover', (event) => event.preventDefault());
  addEventListener('drop', (event) => {
    event.preventDefault();
    inside = 0;
    drop.classList.remove('over');
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}

// Calls `use` with the file that is chosen; the same file can be chosen again.
function onChoice(input, use) {
  input.addEventListener('change', () => {
    if (input.files.length) use(input.files[0]);
    input.value = '';
  });
}

function addListeners() {
  onChoice($('chooser'), take);
  onChoice($('replay'), (file) => {
    play(file);
    showTrack();
  });
  $('example').addEventListener('click', () => take(example()));
  $('again').addEventListener('click', () => take(last));
  acceptDrops();
  $('cancel').addEventListener('click', cancel);
  $('threshold').addEventListener('input', showThreshold);
  $('threshold').addEventListener('change', changeThreshold);
  $('microphone').addEventListener('click', () => toggleMicrophone(source, about));
  const video = $('video');
  video.addEventListener('play', followWhilePlaying);
  for (const name of ['seeked', 'timeupdate', 'pause']) video.addEventListener(name, follow);
  video.addEventListener('loadedmetadata', () => video.classList.toggle('sound', !video.videoHeight));
  video.addEventListener('error', () => {
    if (!shown?.playable) return;
    shown.playable = false;
    video.hidden = true;
    $('unplayable').hidden = false;
  });
  if (source.keeps) addEventListener('hashchange', restore);
}

// What the student knows, and the limits.
function described({ student, classes, names, unknown, sound_seconds: longest, upload_bytes: largest }) {
  const known = names.filter((name) => name !== 'unknown').map(words).join(', ');
  return `Names the sounds in a video with ${student} on this machine: ${classes - unknown} kinds of sound` +
    `${known && ` (${known})`}${unknown ? ', and all others unknown' : ''}, ` +
    `files of up to ${Math.round(longest / 60)} minutes and ${Math.floor(largest / MIB)} MiB.` +
    `${source.needsService ? '' : ' No sound leaves this browser.'}`;
}

async function start() {
  addListeners();
  try {
    about = await source.about();
  } catch (error) {
    say($('problem'), error.message);
    return;
  }
  $('threshold').value = Math.round(100 * about.threshold);
  showThreshold();
  $('about').textContent = described(about);
  $('starter').hidden = !about.starter;
  $('words').hidden = !about.words_characters;
  if (about.words_characters) $('classes').maxLength = about.words_characters;
  await restore();
}

start();
