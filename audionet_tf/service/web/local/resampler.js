// The filter of FFmpeg's libswresample with its defaults, which decodes for the service: a polyphase sinc under a Kaiser
// window. The browser's own resamplers let more alias through, and differ from browser to browser.
//
// Source: FFmpeg, libswresample/resample.c: build_filter, invert_initial_buffer, resample_flush.

const TAPS = 32;  // at equal rates; as many more as the rate falls
const CUTOFF = 0.97;
const BETA = 9;
const MOST_PHASES = 1024;  // between them, at odd rates, filters are interpolated

function bessel0(x) {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-17 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function dot(filter, samples, begin) {
  let sum = 0;
  for (let i = 0; i < filter.length; i++) sum += filter[i] * samples[begin + i];
  return sum;
}

const gcd = (a, b) => (b ? gcd(b, a % b) : a);

// [phases + 1] of f64 [taps], and the number of taps; the last one is the first, a sample later.
function filters(from, to, phases) {
  const factor = Math.min((to * CUTOFF) / from, 1);
  const taps = 2 * Math.ceil(Math.ceil(TAPS / factor) / 2);
  const center = (taps - 1) >> 1;
  const bank = Array.from({ length: phases + 1 }, (_, phase) => Float64Array.from({ length: taps }, (_, i) => {
    const x = Math.PI * (i - center - phase / phases) * factor;
    const w = (2 * x) / (factor * taps * Math.PI);
    return (x ? Math.sin(x) / x : 1) * bessel0(BETA * Math.sqrt(Math.max(1 - w * w, 0)));
  }));
  const norm = bank[0].reduce((sum, value) => sum + value, 0);
  for (const filter of bank) filter.forEach((value, i) => { filter[i] = value / norm; });
  return { bank, taps };
}

// Mono sound from one rate to another, block by block, without delay: sample k is at the time k / to.
export class Resampler {
  constructor(from, to) {
    const divisor = gcd(from, to);
    [this.from, this.to] = [from / divisor, to / divisor];
    this.phases = Math.min(this.to, MOST_PHASES);
    Object.assign(this, filters(from, to, this.phases));
    this.before = (this.taps - 1) >> 1;  // taps before the sample at hand
    this.held = null;  // samples that are still needed
    this.first = 0;  // number of the first of these
    this.count = 0;  // samples in
    this.done = 0;  // samples out
  }

  // f32 [n] in, f32 [m] out.
  push(samples) {
    if (this.from === this.to) return samples;
    this.count += samples.length;
    const held = new Float32Array((this.held?.length ?? 0) + samples.length);
    if (this.held) held.set(this.held);
    held.set(samples, held.length - samples.length);
    this.held = held;
    if (!this.mirrored && held.length <= this.taps) return new Float32Array();
    this.mirror();
    return this.filtered(Infinity);
  }

  // What is left, as if the sound went on backwards from its end.
  end() {
    if (this.from === this.to || !this.held?.length) return new Float32Array();
    this.mirror();
    const rest = this.held.slice(-this.taps);
    const reflected = new Float32Array(this.held.length + this.taps);
    reflected.set(this.held);
    reflected.set(rest.reverse(), this.held.length);
    this.held = reflected;
    return this.filtered(Math.ceil((this.count * this.to) / this.from));
  }

  // Before the first sample, the sound is that after it, backwards.
  mirror() {
    if (this.mirrored) return;
    this.mirrored = true;
    const lead = new Float32Array(this.taps);
    for (let n = 1; n <= this.taps; n++) lead[this.taps - n] = this.held[Math.min(n, this.held.length - 1)];
    const whole = new Float32Array(this.taps + this.held.length);
    whole.set(lead);
    whole.set(this.held, this.taps);
    this.held = whole;
    this.first = -this.taps;
  }

  // The samples out, at most `most` in all, for which all samples in are there.
  filtered(most) {
    const { held, taps, bank, phases } = this;
    const place = (k) => {
      const at = k * this.from * phases;
      const phase = Math.floor(at / this.to);
      return [Math.floor(phase / phases) - this.before - this.first, phase % phases, (at % this.to) / this.to];
    };
    const last = held.length - taps;
    const out = [];
    for (; this.done < most; this.done++) {
      const [begin, phase, share] = place(this.done);
      if (begin > last) break;
      const value = dot(bank[phase], held, begin);
      out.push(share ? value + share * (dot(bank[phase + 1], held, begin) - value) : value);
    }
    const drop = Math.max(0, Math.min(place(this.done)[0], held.length));
    this.held = held.slice(drop);
    this.first += drop;
    return Float32Array.from(out);
  }
}

// A whole sound, f32 [n], at another rate.
export function resampled(samples, from, to) {
  const resampler = new Resampler(from, to);
  const [begin, end] = [resampler.push(samples), resampler.end()];
  const whole = new Float32Array(begin.length + end.length);
  whole.set(begin);
  whole.set(end, begin.length);
  return whole;
}
