// The popup: a switch for the tab in front, the threshold, the port of the service where one is needed.

import { connect } from '../source.js';
import { settings } from './settings.js';

const $ = (id) => document.getElementById(id);

async function ask(message) {
  const answer = await chrome.runtime.sendMessage({ to: 'background', ...message });
  $('switch').checked = answer.on;
  $('state').textContent = answer.state;
}

async function start() {
  const [tab] = await chrome.tabs.query({ active: true, lastFocusedWindow: true });
  const { threshold, port } = await settings();
  $('threshold').value = Math.round(100 * threshold);
  $('shown').textContent = `${$('threshold').value} %`;
  $('port').value = port;
  $('service').hidden = !connect().needsService;
  $('switch').addEventListener('change', () => ask({ type: $('switch').checked ? 'start' : 'stop', tabId: tab.id }));
  $('threshold').addEventListener('input', () => {
    $('shown').textContent = `${$('threshold').value} %`;
    chrome.storage.local.set({ threshold: Number($('threshold').value) / 100 });
  });
  $('port').addEventListener('change', () => {
    if ($('port').reportValidity() && $('port').value) chrome.storage.local.set({ port: Number($('port').value) });
  });
  await ask({ type: 'state', tabId: tab.id });
}

start();
