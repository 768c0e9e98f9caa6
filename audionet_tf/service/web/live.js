// Live sound, named as it sounds. Shared by the page and the extension.

import { resampled } from './local/resampler.js';

const PAUSE_MS = 300;  // between a response and the next request
const ENDED = 'the sound ended; is the microphone still plugged in?';

// The latest samples of a stream, in a ring.
class Latest {
  constructor(size) {
    this.samples = new Float32Array(size);
    this.at = 0;
    this.filled = 0;
  }

  add(block) {
    for (const sample of block.subarray(Math.max(0, block.length - this.samples.length))) {
      this.samples[this.at] = sample;
      this.at = (this.at + 1) % this.samples.length;
    }
    this.filled = Math.min(this.samples.length, this.filled + block.length);
  }

  inOrder() {
    const whole = new Float32Array(this.samples.length);
    whole.set(this.samples.subarray(this.at));
    whole.set(this.samples.subarray(0, this.at), this.samples.length - this.at);
    return whole;
  }
}

// Mean over the examples in a response of `:classify`: [[class, probability], ...], the highest first.
export function mean(results) {
  const sums = new Map();
  for (const result of results) {
    for (const [name, value] of result) sums.set(name, (sums.get(name) ?? 0) + value);
  }
  return [...sums].map(([name, sum]) => [name, sum / results.length]).sort((a, b) => b[1] - a[1]);
}

// The scores that captions may be of: none where `unknown` is as probable as all others together, and never its own.
export function captioned(scores) {
  const isUnknown = scores.some(([name, value]) => name === 'unknown' && value >= 0.5);
  return isUnknown ? [] : scores.filter(([name]) => name !== 'unknown');
}

// Listens to a MediaStream until the function that it returns is called.
//   source: see service.js; about: what it says of itself
//   recorder: address of recorder.js
//   onScores: called with [[class, probability], ...]; onError: with an Error, once, after which nothing listens
//   audible: whether the sound is played on, as that of a captured tab must be
// Whatever fails, the stream is not left on: whose sound is taken is shown to people.
export async function listen(stream, { source, about, recorder, onScores, onError, audible = false }) {
  let length = 0;
  let context = null;
  let latest = null;
  let running = true;

  function stop() {
    running = false;
    for (const track of stream.getTracks()) track.stop();
    if (context && context.state !== 'closed') context.close();
  }

  function fail(error) {
    if (!running) return;
    stop();
    onError(error);
  }

  async function begin() {
    length = about.live.examples * about.live.samples;
    context = new AudioContext();
    await context.audioWorklet.addModule(recorder);
    const input = context.createMediaStreamSource(stream);
    const node = new AudioWorkletNode(context, 'recorder', { numberOfOutputs: 0 });
    latest = new Latest(Math.ceil((length * context.sampleRate) / about.sample_rate_hz));
    node.port.onmessage = ({ data }) => latest.add(data);
    input.connect(node);
    if (audible) input.connect(context.destination);
    await context.resume();
    for (const track of stream.getTracks()) {
      if (track.readyState === 'ended') throw new Error(ENDED);
      track.addEventListener('ended', () => fail(new Error(ENDED)));
    }
  }

  async function loop() {
    while (running) {
      if (latest.filled === latest.samples.length) {
        const samples = resampled(latest.inOrder(), context.sampleRate, about.sample_rate_hz).slice(-length);
        const result = await source.classify(samples);
        if (running) onScores(result);
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  try {
    await begin();
  } catch (error) {
    stop();
    throw error;
  }
  loop().catch(fail);
  return stop;
}
