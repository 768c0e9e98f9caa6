// Rounding as NumPy and Python do it: the scores and times are then those of the service, to the digit.

// To the nearest whole number, halves to the even one.
export function roundEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return below + (rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? 1 : 0);
}

// As Python's round(value, digits): of the decimal value, halves to the even digit.
export function roundTo(value, digits) {
  const doubled = value * 2 ** (digits + 1);
  const isHalf = Number.isInteger(doubled) && doubled % 2 !== 0;  // only such a number can lie in the middle of two decimals
  return isHalf ? roundEven(value * 10 ** digits) / 10 ** digits : Number(value.toFixed(digits));
}

// The nearest float16 of a float32 from 0 to 65504.
export function half(value) {
  const exponent = value ? Math.max(-14, Math.floor(Math.log2(value))) : 0;
  const step = 2 ** (exponent - 10);
  return roundEven(value / step) * step;
}

// The median of numbers, sorted or not; the mean of the two in the middle of an even count.
export function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
