// Scores from the service.
//
// `connect(base)` returns a source, which is also what local/source.js makes:
//   needsService: whether there is a service at `base`
//   about(): a promise of what /v1/service answers: student, classes, limits, sample rate, how to send live sound
//   caption(file, threshold, report, signal, classes): a promise of a result { id, file, seconds, repeats, unknown_seconds, warnings,
//     events }; report(stage, share) is called as it goes on, share undefined where it is not known; classes: text with one
//     per line, '' for those of the student, and so it is where about() has no words_characters
//   result(id, threshold): a promise of a result that was there before
//   keeps: whether a result can be had by its id after a reload
//   timeline(id): a promise of what /v1/captions/ID/timeline answers
//   address(id, format, threshold): of the captions as a file
//   classify(samples, classes): a promise of [[class, probability], ...], the highest first, of live sound, f32
//     [examples * samples]

import { getJson } from './page.js';
import { clock } from './timeline.js';
import { mean } from './live.js';

const STAGES = {
  waiting: () => ['Waiting for its turn'],
  decoding: ({ seconds }) => [`Decoding: ${clock(seconds)}`],
  listening: ({ seconds, of }) => [`Listening: ${clock(seconds)} of ${clock(of)}`, of ? seconds / of : 0],
};

// Calls `handle(event, data)` for every whole server-sent event in `text` from `from` on; returns where it stopped.
function readEvents(text, from, handle) {
  let end;
  while ((end = text.indexOf('\n\n', from)) >= 0) {
    const fields = Object.fromEntries(text.slice(from, end).split('\n').map((line) => line.split(/: (.*)/s)));
    if (fields.event) handle(fields.event, JSON.parse(fields.data));
    from = end + 2;
  }
  return from;
}

// The service's own words for a response that is no success; else its status.
function refusal({ status, responseText }) {
  try {
    return JSON.parse(responseText).error;
  } catch {
    return `answer ${status}`;
  }
}

function caption(base, file, threshold, report, signal, classes) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    let read = 0;

    function handle(event, data) {
      if (event === 'progress') report(...STAGES[data.stage](data));
      if (event === 'error') reject(new Error(data.error));
      if (event === 'result') resolve(data);
    }

    report('Sending', 0);
    sending.upload.onprogress = ({ loaded, total }) => report('Sending', loaded / total);
    sending.onprogress = () => {
      if (sending.status === 200) read = readEvents(sending.responseText, read, handle);
    };
    sending.onload = () => {
      sending.onprogress();  // after a result, the rest changes nothing
      reject(new Error(sending.status === 200 ? 'the service ended the connection.' : refusal(sending)));
    };
    sending.onerror = () => reject(new Error('the service does not answer, or refuses the file.'));
    signal.addEventListener('abort', () => {
      sending.abort();
      reject(signal.reason);
    });
    sending.open('POST', `${base}/v1/captions?threshold=${threshold}`);
    sending.setRequestHeader('Accept', 'text/event-stream');
    const form = new FormData();
    form.append('file', file);
    if (classes) form.append('classes', classes);
    sending.send(form);
  });
}

// Scores of live samples. `about`: answer of /v1/service.
async function classify(base, about, samples, classes) {
  const { examples, samples: length } = about.live;
  const inputs = [];
  for (let i = 0; i < examples; i++) {
    const waveform = Array.from(samples.subarray(i * length, (i + 1) * length), (x) => Math.round(x * 32768) / 32768);
    inputs.push({ waveform });
  }
  const response = await fetch(`${base}/v1/models/${about.model}:classify`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ examples: inputs, classes: classes || undefined }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return mean(answer.results);
}

export function connect(base = '') {
  let about = null;
  const address = (id, format, threshold) => `${base}/v1/captions/${id}.${format}?threshold=${threshold}`;

  async function learn() {
    try {
      about = await getJson(`${base}/v1/service`);
    } catch {
      throw new Error(`No service answers at ${base || location.origin}.`);
    }
    return about;
  }

  return {
    needsService: true,
    keeps: true,
    about: learn,
    caption: (...given) => caption(base, ...given),
    result: (id, threshold) => getJson(address(encodeURIComponent(id), 'json', threshold)),
    timeline: (id) => getJson(`${base}/v1/captions/${encodeURIComponent(id)}/timeline`),
    address,
    classify: async (samples, classes) => classify(base, about ?? await learn(), samples, classes),
  };
}
