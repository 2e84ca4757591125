/**
 * Leading principal components of a sparse matrix by subspace iteration with Rayleigh-Ritz steps. Columns are centred without forming
 * the dense matrix. Deterministic: a fixed starting block and a fixed sign.
 */
import { Purpose, Random } from '../native/random.js';

/** (numRows, numColumns) in compressed rows. */
export interface SparseMatrix {
  numRows: number;
  numColumns: number;
  /** (numRows + 1) */
  rowStart: ArrayLike<number>;
  indices: Int32Array;
  weights: Float32Array;
}

const oversampling = 8;
const tolerance = 1e-12;
const maxIterations = 3000;

/**
 * Projections of the rows (numRows) on principal component `component` (1 is the leading one); the projection of largest magnitude is
 * positive. Same meaning as scikit-learn's PCA(...).transform up to the sign.
 */
export function principalProjection(matrix: SparseMatrix, component: number): Float64Array {
  const width = Math.min(component + oversampling, matrix.numColumns, matrix.numRows);
  const means = columnMeans(matrix);
  const random = new Random(0, Purpose.forgetSet, 0);
  let block: Float64Array[] = Array.from({ length: width }, () => Float64Array.from({ length: matrix.numColumns }, () => random.normal()));
  orthonormalise(block);
  let previous: Float64Array = new Float64Array(width);
  for (let iteration = 0; iteration < maxIterations; iteration++) {
    const images = block.map((vector) => project(matrix, means, vector));
    const { values, vectors } = symmetricEigen(images.map((a) => images.map((b) => dot(a, b))));
    const converged = values
      .slice(0, component)
      .every((value, k) => Math.abs(value - previous[k]!) <= tolerance * Math.max(values[0]!, 1e-300));
    const rotated = rotate(images, vectors);
    if (converged) return withSign(rotated[component - 1]!);
    previous = values;
    block = rotated.map((image) => projectBack(matrix, means, image));
    orthonormalise(block);
  }
  return withSign(project(matrix, means, block[component - 1]!));
}

function columnMeans({ numRows, numColumns, indices, weights }: SparseMatrix): Float64Array {
  const means = new Float64Array(numColumns);
  for (let k = 0; k < indices.length; k++) means[indices[k]!]! += weights[k]! / numRows;
  return means;
}

/** (W - 1 mean^T) v */
function project({ numRows, rowStart, indices, weights }: SparseMatrix, means: Float64Array, vector: Float64Array): Float64Array {
  const offset = dot(means, vector);
  const out = new Float64Array(numRows);
  for (let row = 0; row < numRows; row++) {
    let sum = -offset;
    for (let k = rowStart[row]!; k < rowStart[row + 1]!; k++) sum += weights[k]! * vector[indices[k]!]!;
    out[row] = sum;
  }
  return out;
}

/** (W - 1 mean^T)^T u */
function projectBack(
  { numRows, numColumns, rowStart, indices, weights }: SparseMatrix,
  means: Float64Array,
  image: Float64Array,
): Float64Array {
  const out = new Float64Array(numColumns);
  let total = 0;
  for (let row = 0; row < numRows; row++) {
    total += image[row]!;
    for (let k = rowStart[row]!; k < rowStart[row + 1]!; k++) out[indices[k]!]! += weights[k]! * image[row]!;
  }
  for (let j = 0; j < numColumns; j++) out[j]! -= total * means[j]!;
  return out;
}

/** Modified Gram-Schmidt, twice for accuracy. */
function orthonormalise(block: Float64Array[]): void {
  for (let pass = 0; pass < 2; pass++) {
    block.forEach((vector, k) => {
      for (let other = 0; other < k; other++) {
        const factor = dot(vector, block[other]!);
        for (let j = 0; j < vector.length; j++) vector[j]! -= factor * block[other]![j]!;
      }
      const norm = Math.sqrt(dot(vector, vector));
      if (norm > 0) for (let j = 0; j < vector.length; j++) vector[j]! /= norm;
    });
  }
}

/** Columns combined by `vectors` (columns are eigenvectors). */
function rotate(images: Float64Array[], vectors: number[][]): Float64Array[] {
  return images.map((_, k) => {
    const out = new Float64Array(images[0]!.length);
    images.forEach((image, i) => {
      for (let row = 0; row < out.length; row++) out[row]! += vectors[i]![k]! * image[row]!;
    });
    return out;
  });
}

/** Cyclic Jacobi for a small symmetric matrix; eigenvalues descending, vectors[i][k] is entry i of eigenvector k. */
export function symmetricEigen(matrix: number[][]): { values: Float64Array; vectors: number[][] } {
  const n = matrix.length;
  const a = matrix.map((row) => [...row]);
  const v = a.map((_, i) => a.map((__, j) => (i === j ? 1 : 0)));
  const scale = a.reduce((sum, row, i) => sum + row[i]! ** 2, 0);
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) off += a[p]![q]! ** 2;
    if (off <= 1e-30 * scale) break;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) jacobiRotation(a, v, p, q);
  }
  const order = a.map((_, i) => i).sort((i, j) => a[j]![j]! - a[i]![i]!);
  return { values: Float64Array.from(order, (i) => a[i]![i]!), vectors: v.map((row) => order.map((i) => row[i]!)) };
}

function jacobiRotation(a: number[][], v: number[][], p: number, q: number): void {
  const apq = a[p]![q]!;
  if (apq === 0) return;
  const theta = (a[q]![q]! - a[p]![p]!) / (2 * apq);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  for (let k = 0; k < a.length; k++) {
    const [akp, akq] = [a[k]![p]!, a[k]![q]!];
    a[k]![p] = c * akp - s * akq;
    a[k]![q] = s * akp + c * akq;
  }
  for (let k = 0; k < a.length; k++) {
    const [apk, aqk] = [a[p]![k]!, a[q]![k]!];
    a[p]![k] = c * apk - s * aqk;
    a[q]![k] = s * apk + c * aqk;
    const [vkp, vkq] = [v[k]![p]!, v[k]![q]!];
    v[k]![p] = c * vkp - s * vkq;
    v[k]![q] = s * vkp + c * vkq;
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function withSign(projection: Float64Array): Float64Array {
  const extreme = projection.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
  return extreme < 0 ? projection.map((value) => -value) : projection;
}
