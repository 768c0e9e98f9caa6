// The page: a file goes to the service and comes back as captions; the microphone is named live.

import { $, MIB, element, json, say, showBars, threshold } from './page.js';
import { cancel, idle, send } from './upload.js';
import { clock, timeline } from './timeline.js';
import { toggleMicrophone } from './microphone.js';

const CUE_LINE_PERCENT = 6;

let about = null;  // answer of /v1/service
let shown = null;  // what is on the page: { id, name, address, line, classes, events, at, playable }

// `wanted`: whether nobody has chosen another file meanwhile.
async function show(file, result, wanted) {
  const drawn = await json(`/v1/captions/${result.id}/timeline`);
  if (!wanted()) return;
  clear();
  shown = { id: result.id, name: result.file, address: URL.createObjectURL(file), classes: drawn.classes, at: 0, playable: true };
  $('name').textContent = result.file;
  $('result').hidden = false;
  $('unplayable').hidden = true;
  const video = $('video');
  video.hidden = false;
  video.className = 'sound';
  video.src = shown.address;
  shown.line = timeline($('timeline'), drawn, { now, seek, toggle });
  showEvents(result.events);
  idle(`${result.events.length === 1 ? 'One sound' : `${result.events.length} sounds`} in ${clock(result.seconds)}.` +
    (result.repeats > 1 ? ` It is short and was heard ${result.repeats} times over.` : ''));
  $('name').focus();
  follow();
}

function clear() {
  if (!shown) return;
  shown.line.remove();
  URL.revokeObjectURL(shown.address);
  $('video').replaceChildren();
  shown = null;
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

// Captions, downloads and the list for the present threshold.
function showEvents(events) {
  const query = `?threshold=${threshold()}`;
  const base = `/v1/captions/${shown.id}`;
  const track = document.createElement('track');
  Object.assign(track, { kind: 'captions', srclang: 'en', label: 'Sounds', default: true, src: `${base}.vtt${query}` });
  track.addEventListener('load', () => {
    for (const cue of track.track.cues) {  // at the top: below are the controls
      cue.snapToLines = false;
      cue.line = CUE_LINE_PERCENT;
    }
  });
  $('video').replaceChildren(track);
  track.track.mode = 'showing';
  $('downloads').replaceChildren(...about.formats.map((format) => {
    const item = document.createElement('li');
    const link = element('a', format.toUpperCase(), 'download');
    const suffix = { labels: 'labels.txt', json: 'events.json', csv: 'events.csv' }[format] ?? format;
    Object.assign(link, { href: `${base}.${format}${query}`, download: `${shown.name}.${suffix}` });
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
      element('span', event.name), element('span', `${Math.round(100 * event.score)} %`, 'share'),
    );
    button.addEventListener('click', () => seek(event.start_seconds));
    item.append(button);
    return item;
  }));
  if (!events.length) $('events').append(element('li', 'Nothing reaches this probability.'));
}

function showThreshold() {
  const shown = `${$('threshold').value} %`;
  $('threshold-shown').textContent = shown;
  $('threshold').setAttribute('aria-valuetext', shown);
}

async function changeThreshold() {
  if (!shown) return;
  const { id } = shown;
  const wanted = threshold();
  try {
    const answer = await json(`/v1/captions/${id}.json?threshold=${wanted}`);
    if (shown?.id === id && threshold() === wanted) showEvents(answer.events);
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
    if (event.dataTransfer.files.length) send(event.dataTransfer.files[0], about, show);
  });
}

async function start() {
  $('chooser').addEventListener('change', () => {
    if ($('chooser').files.length) send($('chooser').files[0], about, show);
    $('chooser').value = '';  // so that the same file can be chosen again
  });
  acceptDrops();
  $('cancel').addEventListener('click', cancel);
  $('threshold').addEventListener('input', showThreshold);
  $('threshold').addEventListener('change', changeThreshold);
  $('microphone').addEventListener('click', () => toggleMicrophone(about));
  const video = $('video');
  video.addEventListener('play', followWhilePlaying);
  for (const name of ['seeked', 'timeupdate', 'pause']) video.addEventListener(name, follow);
  video.addEventListener('loadedmetadata', () => video.classList.toggle('sound', !video.videoHeight));
  video.addEventListener('error', () => {
    if (!shown || !video.src) return;
    shown.playable = false;
    video.hidden = true;
    $('unplayable').hidden = false;
  });
  try {
    about = await json('/v1/service');
    $('threshold').value = Math.round(100 * about.threshold);
    $('about').textContent = `What a video sounds like, named by ${about.student} on this machine: ` +
      `${about.classes} kinds of sound, files of up to ${Math.round(about.sound_seconds / 60)} minutes and ` +
      `${Math.floor(about.upload_bytes / MIB)} MiB.`;
  } catch (error) {
    say($('problem'), `The service does not answer: ${error.message}`);
  }
  showThreshold();
}

start();
