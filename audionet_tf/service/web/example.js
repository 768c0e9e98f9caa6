// A sound to try the service with: beeps, a siren, rain and silence, made here and sent as a WAV file.

const RATE = 16000;
const SECONDS = 8;

const tone = (hertz, time) => Math.sin(2 * Math.PI * hertz * time);

// [start, end, function from seconds since the start to a sample]. The siren's phase is the integral of its pitch.
const PARTS = [
  [0.5, 2.5, (time) => (time % 0.5 < 0.25 ? 0.4 * tone(1000, time) : 0)],
  [3, 5, (time) => 0.4 * Math.sin(2 * Math.PI * 900 * time - 300 * Math.cos(2 * Math.PI * time))],
  [5.5, 7.5, () => 0.2 * (2 * Math.random() - 1)],
];

function samples() {
  const pcm = new Int16Array(RATE * SECONDS);
  for (const [start, end, sample] of PARTS) {
    for (let i = start * RATE; i < end * RATE; i++) {
      const edge = Math.min(1, (i / RATE - start) * 50, (end - i / RATE) * 50);  // no clicks
      pcm[i] = Math.round(32767 * edge * sample(i / RATE - start));
    }
  }
  return pcm;
}

// A File: WAV, 16 bits, one channel. Little-endian, as every machine with a browser is.
export function example() {
  const pcm = samples();
  const header = new DataView(new ArrayBuffer(44));
  const text = (at, word) => [...word].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  text(0, 'RIFF');
  header.setUint32(4, 36 + pcm.byteLength, true);
  text(8, 'WAVEfmt ');
  header.setUint32(16, 16, true);  // bytes of the format
  header.setUint16(20, 1, true);  // PCM
  header.setUint16(22, 1, true);  // channels
  header.setUint32(24, RATE, true);
  header.setUint32(28, 2 * RATE, true);  // bytes per second
  header.setUint16(32, 2, true);  // bytes per frame
  header.setUint16(34, 16, true);  // bits per sample
  text(36, 'data');
  header.setUint32(40, pcm.byteLength, true);
  return new File([header, pcm], 'example.wav', { type: 'audio/wav' });
}
