// The microphone, named as it sounds.

import { $, element, say, showBars, threshold } from './page.js';
import { listen } from './extension/live.js';

const LOG_ENTRIES = 50;

let stopListening = null;
let lastNamed = '';

function heard(pairs) {
  showBars($('live-top'), pairs.slice(0, 5).map(([name, value]) => [name, 100 * value]));
  const named = pairs.filter(([, value]) => value >= threshold()).slice(0, 3).map(([name]) => name).sort().join(', ');
  if (named && named !== lastNamed) {
    const item = document.createElement('li');
    item.append(element('time', new Date().toLocaleTimeString()), element('span', named));
    $('live-log').prepend(item);
    while ($('live-log').children.length > LOG_ENTRIES) $('live-log').lastChild.remove();
  }
  lastNamed = named;
}

function quiet(problem = '') {
  stopListening?.();
  stopListening = null;
  lastNamed = '';
  $('microphone').textContent = 'Listen';
  say($('live-problem'), problem);
}

// Starts or stops. `about`: answer of /v1/service.
export async function toggleMicrophone(about) {
  if (stopListening) {
    quiet();
    return;
  }
  $('microphone').disabled = true;
  try {
    const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: raw });
    stopListening = await listen(stream, {
      base: '', about, recorder: 'extension/recorder.js', heard, failed: (error) => quiet(error.message),
    });
    $('live').hidden = false;
    $('microphone').textContent = 'Stop listening';
    say($('live-problem'), '');
  } catch (error) {
    quiet(`The microphone cannot be heard: ${error.message}`);
  } finally {
    $('microphone').disabled = false;
  }
}
