import { fail } from "./wasi";

/**
 * Solves H x = b for a symmetric positive definite H by Cholesky's method. Only the lower triangle of
 * H is read; it is overwritten by its factor.
 */
export function solveSymmetric(h: Float64Array, b: Float64Array, size: i32): Float64Array {
  factor(h, size);
  const x = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    let sum = b[i];
    for (let k = 0; k < i; k++) sum -= h[i * size + k] * x[k];
    x[i] = sum / h[i * size + i];
  }
  for (let i = size - 1; i >= 0; i--) {
    let sum = x[i];
    for (let k = i + 1; k < size; k++) sum -= h[k * size + i] * x[k];
    x[i] = sum / h[i * size + i];
  }
  return x;
}

function factor(h: Float64Array, size: i32): void {
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = h[i * size + j];
      for (let k = 0; k < j; k++) sum -= h[i * size + k] * h[j * size + k];
      if (i != j) {
        h[i * size + j] = sum / h[j * size + j];
        continue;
      }
      if (!(sum > 0)) fail("Training cannot go on: the curvature is not positive; raise l2.");
      h[i * size + i] = Math.sqrt(sum);
    }
  }
}
