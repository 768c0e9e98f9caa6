// Holds what a service worker cannot: the sound of tabs, and requests that take minutes.

import { captioned, listen } from '../live.js';
import { connect } from '../source.js';

const LEAST_THRESHOLD = 0.05;  // all events of the service: the overlay chooses among them

const sessions = new Map();  // tab to the AbortController that ends it

function tell(type, message) {
  return chrome.runtime.sendMessage({ to: 'background', type, ...message });
}

function end(tabId) {
  sessions.get(tabId)?.abort();
  sessions.delete(tabId);
}

// The AbortSignal of a new session, which ends the one before. A stop may come while it still begins.
function begin(tabId) {
  end(tabId);
  const session = new AbortController();
  sessions.set(tabId, session);
  return session.signal;
}

async function captureTab({ tabId, streamId, base, about }) {
  const ended = begin(tabId);
  const source = { chromeMediaSource: 'tab', chromeMediaSourceId: streamId };
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { mandatory: source } });
    const stop = await listen(stream, {
      source: connect(base), about, recorder: '../recorder.js', audible: true,
      onScores: (scores) => ended.aborted || tell('scores', { tabId, scores: captioned(scores).slice(0, 5) }),
      onError: (error) => tell('failed', { tabId, reason: error.message }),
    });
    if (ended.aborted) stop();
    else ended.addEventListener('abort', stop);
  } catch (error) {
    if (!ended.aborted) throw error;
  }
}

async function fetchCaptions({ tabId, base, about, address }) {
  const ended = begin(tabId);
  tell('progress', { tabId, text: 'The service is fetching the video …' });
  try {
    const response = await fetch(`${base}/v1/captions?threshold=${LEAST_THRESHOLD}`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ url: address }),
      signal: ended,
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    tell('events', { tabId, events: answer.events });
  } catch (error) {
    if (!ended.aborted) tell('unfetched', { tabId, base, about, reason: error.message });
  }
}

const TASKS = { listen: captureTab, fetch: fetchCaptions, stop: ({ tabId }) => end(tabId) };

chrome.runtime.onMessage.addListener((message, sender) => {
  if (message.to !== 'offscreen' || sender.id !== chrome.runtime.id) return;
  Promise.resolve(TASKS[message.type](message)).catch((error) => {
    tell('failed', { tabId: message.tabId, reason: error.message });
  });
});
