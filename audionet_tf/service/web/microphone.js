// The microphone, captioned live.

import { $, classes, element, say, showBars, threshold, words } from './page.js';
import { captioned, listen } from './live.js';

const LOG_ENTRIES = 50;

let stopListening = null;
let lastNames = '';

function showScores(scores) {
  showBars($('live-top'), scores.slice(0, 5).map(([name, value]) => [name, 100 * value]));
  const heard = captioned(scores).filter(([, value]) => value >= threshold()).slice(0, 3);
  const names = heard.map(([name]) => words(name)).sort().join(' · ');
  if (names && names !== lastNames) {
    const list = $('live-log').firstElementChild;
    const item = document.createElement('li');
    item.append(element('time', new Date().toLocaleTimeString()), element('span', names));
    list.prepend(item);
    while (list.children.length > LOG_ENTRIES) list.lastChild.remove();
  }
  lastNames = names;
}

function stop(problem = '') {
  stopListening?.();
  stopListening = null;
  lastNames = '';
  $('microphone').textContent = 'Listen';
  say($('live-problem'), problem);
}

// Starts or stops. `source`: see service.js; `about`: what it says of itself.
export async function toggleMicrophone(source, about) {
  if (stopListening) {
    stop();
    return;
  }
  $('microphone').disabled = true;
  try {
    const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: raw });
    const chosen = classes();  // of now: while words are typed, they are no classes yet
    const classify = (samples) => source.classify(samples, chosen);
    stopListening = await listen(stream, {
      source: { ...source, classify }, about, recorder: 'recorder.js', onScores: showScores, onError: (error) => stop(error.message),
    });
    $('live').hidden = false;
    $('microphone').textContent = 'Stop listening';
    say($('live-problem'), '');
  } catch (error) {
    stop(`The microphone cannot be used: ${error.message}`);
  } finally {
    $('microphone').disabled = false;
  }
}
