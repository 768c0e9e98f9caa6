// The sound of a file, as media/decoding.py decodes it: from time zero on, without gaps, one channel, int16.

import {
  ADTS, AudioSampleSink, BlobSource, FLAC, Input, MATROSKA, MP3, MP4, MPEG_TS, OGG, QTFF, WAVE, WEBM,
} from '../vendor/mediabunny.js';
import { clock } from '../timeline.js';
import { Resampler } from './resampler.js';
import { roundEven } from './rounding.js';

const FORMATS = [MP4, QTFF, MATROSKA, WEBM, WAVE, OGG, MP3, ADTS, FLAC, MPEG_TS];
const JITTER_SECONDS = 0.005;  // of time stamps
const MAX_FILLED_SECONDS = 3600;  // in all gaps of a file
const MAX_PEAK = 4;
const MAX_RATE_HZ = 768000;  // a header may claim anything
const BLOCK_SECONDS = 1;  // of sound that the resampler gets at least
// Sample format to the array that holds it, its full scale and its zero.
const SAMPLES = {
  u8: [Uint8Array, 128, 128], s16: [Int16Array, 32768, 0], s32: [Int32Array, 2 ** 31, 0], f32: [Float32Array, 1, 0],
};

// Why a file has no captions, in words for people.
class Refused extends Error {}

// f32 [n] of a decoded piece: the mean of its channels, or the first.
function mixed(piece, mono) {
  const format = piece.format.replace('-planar', '');
  const [Samples, scale, zero] = SAMPLES[format];
  const channels = mono === 'first' ? 1 : piece.numberOfChannels;
  const plane = new Samples(piece.numberOfFrames);
  const sum = new Float32Array(piece.numberOfFrames);
  for (let planeIndex = 0; planeIndex < channels; planeIndex++) {
    piece.copyTo(plane, { planeIndex, format: `${format}-planar` });
    for (let i = 0; i < sum.length; i++) sum[i] += (plane[i] - zero) / scale;
  }
  return channels === 1 ? sum : sum.map((value) => value / channels);
}

// The track with the sound, and the time that counts as zero. Throws where there is none.
async function opened(input) {
  if (!await input.canRead().catch(() => false)) {
    throw new Refused('not a media file of a format that this page reads, or damaged');
  }
  const track = await input.getPrimaryAudioTrack();
  if (!track) throw new Refused('no sound in it');
  if (!await track.canDecode()) {
    const where = globalThis.isSecureContext ? '' : '; browsers decode most sound only on localhost and over HTTPS';
    throw new Refused(`this browser cannot decode its sound (${track.codec ?? 'unknown codec'})${where}`);
  }
  const zero = Math.max(0, await input.getFirstTimestamp());
  return { track, zero };
}

// A function (first sample, rate, f32 [n]) -> [samples of silence before it, what of it does not overlap], from time zero
// on.
function contiguous() {
  let [expected, known, filled] = [0, null, 0];
  return (start, rate, samples) => {
    const first = known === null;
    if (rate !== known) [expected, known] = [known ? Math.floor((expected * rate) / known) : 0, rate];
    const jitter = first ? 0 : Math.floor(JITTER_SECONDS * rate);
    const gap = start - expected;
    let kept = samples;
    let silence = 0;
    if (gap > jitter) {
      silence = gap;
      filled += gap / rate;
      if (filled > MAX_FILLED_SECONDS) throw new Refused(`gaps in its sound add up to more than ${MAX_FILLED_SECONDS} s`);
    } else if (gap < -jitter) kept = samples.subarray(Math.min(samples.length, -gap));
    expected += silence + kept.length;
    return [silence, kept];
  };
}

// Float samples to int16, piece by piece; remembers the highest.
class Pcm {
  pieces = [];
  length = 0;
  peak = 0;

  add(samples) {
    const piece = new Int16Array(samples.length);
    for (let i = 0; i < samples.length; i++) {
      this.peak = Math.max(this.peak, Math.abs(samples[i]));
      piece[i] = Math.min(32767, Math.max(-32768, roundEven(samples[i] * 32768)));
    }
    this.pieces.push(piece);
    this.length += piece.length;
  }

  joined() {
    const whole = new Int16Array(this.length);
    let at = 0;
    for (const piece of this.pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }
}

function joined(blocks) {
  const whole = new Float32Array(blocks.reduce((sum, block) => sum + block.length, 0));
  let at = 0;
  for (const block of blocks) {
    whole.set(block, at);
    at += block.length;
  }
  return whole;
}

function warnings(peak) {
  if (peak <= MAX_PEAK) return [];
  const how = peak > 1000 ? 'divide them by 32768' : 'lower its level';
  return [`samples reach ${Number(peak.toPrecision(6))}, beyond 1 they are clipped; ${how}`];
}

// { pcm: int16 [n] at `rate`, warnings: [text] }.
//   file: File; rate: in hertz; mono: 'mean' or 'first'; most: seconds of sound
//   report(text): called now and then; signal: AbortSignal
export async function decode(file, { rate, mono, most }, report, signal) {
  const input = new Input({ source: new BlobSource(file), formats: FORMATS });
  const [pcm, place] = [new Pcm(), contiguous()];
  let resampler = null;
  let [held, known] = [[], null];

  function flush() {
    const samples = joined(held).map((value) => (Number.isFinite(value) ? value : 0));
    held = [];
    if (samples.length) pcm.add(resampler.push(samples));
    if (pcm.length > most * rate) throw new Refused(`its sound is longer than the ${most} s allowed`);
  }

  function change(sampleRate) {
    flush();
    if (resampler) pcm.add(resampler.end());
    if (!(sampleRate > 0 && sampleRate <= MAX_RATE_HZ)) {
      throw new Refused(`sample rate is ${sampleRate} Hz, at most ${MAX_RATE_HZ} is allowed`);
    }
    [resampler, known] = [new Resampler(sampleRate, rate), sampleRate];
  }

  try {
    const { track, zero } = await opened(input);
    for await (const piece of new AudioSampleSink(track).samples()) {
      signal.throwIfAborted();
      const { sampleRate, timestamp } = piece;
      const samples = mixed(piece, mono);
      piece.close();
      if (sampleRate !== known) change(sampleRate);
      const [silence, kept] = place(Math.round((timestamp - zero) * sampleRate), sampleRate, samples);
      for (let left = silence; left > 0; left -= sampleRate) {
        held.push(new Float32Array(Math.min(left, sampleRate)));
        flush();
      }
      held.push(kept);
      const waiting = held.reduce((sum, block) => sum + block.length, 0);
      if (waiting < BLOCK_SECONDS * sampleRate) continue;
      flush();
      report(`Decoding: ${clock(pcm.length / rate)}`);
    }
    flush();
    if (resampler) pcm.add(resampler.end());
  } catch (error) {
    if (error instanceof Refused || signal.aborted) throw error;
    throw new Refused(`damaged (${error.message.split('\n')[0].slice(0, 120)})`);
  } finally {
    input.dispose();
  }
  if (!pcm.length) throw new Refused('no sound in it');
  return { pcm: pcm.joined(), warnings: warnings(pcm.peak) };
}
