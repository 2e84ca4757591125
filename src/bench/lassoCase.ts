/** What one mode of the datamodel benchmark asks of us and of the peers. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { selectRows } from '../data/masks.js';
import { defaultFitOptions } from '../datamodels/fit.js';
import { holdoutModels } from '../attributors/selection.js';
import type { Datamodels, LassoOptions, Masks } from '../types.js';
import { lambdaMax, targetColumn } from './certificate.js';
import { type FitFiles, writeFitFiles } from './fits.js';
import type { Walk } from './peers.js';
import type { BenchMode, BenchProblem, SparseSolution } from './types.js';

export const gapTolerance = 1e-4;
const pathLength = 100;
const lambdaMinRatio = 0.01;
/** Peers walk so many lambdas past the one they are asked for: they could not know earlier that it is the best. */
const patience = 20;
/** Ratio of the steps by which a known lambda is reached from lambda_max, when walking in is faster than a cold start. */
const warmRatio = 0.65;

export interface LassoCase {
  mode: BenchMode;
  problem: BenchProblem;
  files: FitFiles;
  options: LassoOptions;
  /** The models that solutions are certified on: all but the held-out ones where lambda is selected. */
  rows: Int32Array;
  rowMasks: Masks;
}

/** lambda: the one of mode single, which the other modes ignore. */
export async function makeCase(mode: BenchMode, problem: BenchProblem, folder: string, lambda = NaN): Promise<LassoCase> {
  const own = path.join(folder, mode);
  await fs.mkdir(own, { recursive: true });
  const scaled = mode === 'saturated' ? scaleToLambdaMax(problem) : problem;
  const files = await writeFitFiles(own, scaled);
  const options = optionsOf(mode, lambda);
  const heldOut = new Set(mode === 'path' ? holdoutModels(problem.masks.numModels, options) : []);
  const rows = Int32Array.from({ length: problem.masks.numModels }, (_, row) => row).filter((row) => !heldOut.has(row));
  return { mode, problem: scaled, files, options, rows, rowMasks: selectRows(problem.masks, rows) };
}

function optionsOf(mode: BenchMode, lambda: number): LassoOptions {
  // the certificate is that of the Lasso
  const common: LassoOptions = { ...defaultFitOptions, pathLength, lambdaMinRatio, gapTolerance, relaxation: 0 };
  switch (mode) {
    case 'pooled':
      return common;
    case 'path':
      return { ...common, select: 'holdout', refit: false };
    case 'single':
      return { ...common, select: 'none', lambda };
    case 'saturated':
      return { ...common, select: 'none', lambda: lambdaMinRatio };
  }
}

/** Of a fit of few targets to another gap at the lambdas of `fitted`: what is chosen for many together depends on which they are. */
export function optionsAgain(of: LassoCase, fitted: Datamodels, gapTolerance: number): LassoOptions {
  const options = { ...of.options, gapTolerance };
  if (of.mode !== 'pooled') return options;
  const target = checkedTargets(fitted, 1)[0]!;
  return { ...options, select: 'none', lambdaRatio: fitted.lambda[target]! / lambdaMax(of.rowMasks, targetOf(of, target)) };
}

/** Divides every target by its lambda_max, so that one lambda is the same share of it for all; the Lasso scales with its target. */
function scaleToLambdaMax(problem: BenchProblem): BenchProblem {
  const { masks, numTargets } = problem;
  const outputs = Float32Array.from(problem.outputs);
  const rows = Int32Array.from({ length: masks.numModels }, (_, row) => row);
  for (let target = 0; target < numTargets; target++) {
    const largest = lambdaMax(masks, targetColumn(outputs, numTargets, target, rows));
    if (!(largest > 0)) continue;
    for (let row = 0; row < masks.numModels; row++) outputs[row * numTargets + target]! /= largest;
  }
  return { ...problem, outputs };
}

/** The first targets that have a solution: constant and non-finite ones give a rival nothing to do. */
export function checkedTargets({ status, numTargets }: Datamodels, count: number): number[] {
  const solvable = (target: number): boolean => status[target] === 'converged' || status[target] === 'unconverged';
  return Array.from({ length: numTargets }, (_, target) => target)
    .filter(solvable)
    .slice(0, count);
}

export function targetOf({ problem, rows }: LassoCase, target: number): Float64Array {
  return targetColumn(problem.outputs, problem.numTargets, target, rows);
}

export function solutionOf({ lambda, rowStart, indices, weights }: Datamodels, target: number): SparseSolution {
  const from = rowStart[target]!;
  const to = rowStart[target + 1]!;
  return { lambda: lambda[target]!, indices: indices.subarray(from, to), weights: weights.subarray(from, to) };
}

/** weights: (numTrain) */
export function sparseSolution(lambda: number, weights: Float32Array): SparseSolution {
  const indices = Int32Array.from(weights.keys()).filter((j) => weights[j] !== 0);
  return { lambda, indices, weights: Float32Array.from(indices, (j) => weights[j]!) };
}

/** How the peers reach the lambdas that we chose, by name: one walk a target. */
export function peerWalks(of: LassoCase, fitted: Datamodels, targets: readonly number[]): Map<string, Walk[]> {
  const each = (walk: (lambda: number, largest: number) => Walk): Walk[] =>
    targets.map((target) => walk(fitted.lambda[target]!, lambdaMax(of.rowMasks, targetOf(of, target))));
  if (of.mode === 'single' || of.mode === 'pooled') {
    return new Map([
      ['cold', each((lambda) => ({ lambdas: [lambda], selected: 0 }))],
      ['warm', each(warmWalk)],
    ]);
  }
  return new Map([['path', each(of.mode === 'path' ? pathWalk : fullWalk)]]);
}

function geometric(from: number, ratio: number, count: number): number[] {
  return Array.from({ length: count }, (_, k) => from * ratio ** k);
}

/** The path to the chosen lambda and `patience` further; the chosen lambda itself is the float32 that we report. */
export function pathWalk(lambda: number, largest: number): Walk {
  const ratio = lambdaMinRatio ** (1 / (pathLength - 1));
  const place = Math.round(Math.log(lambda / largest) / Math.log(ratio));
  const selected = Math.min(Math.max(place, 0), pathLength - 1);
  const lambdas = geometric(largest, ratio, Math.min(selected + patience + 1, pathLength));
  lambdas[selected] = lambda;
  return { lambdas, selected };
}

function fullWalk(lambda: number, largest: number): Walk {
  const lambdas = geometric(largest, lambdaMinRatio ** (1 / (pathLength - 1)), pathLength);
  lambdas[pathLength - 1] = lambda;
  return { lambdas, selected: pathLength - 1 };
}

function warmWalk(lambda: number, largest: number): Walk {
  const steps = Math.max(0, Math.ceil(Math.log(lambda / largest) / Math.log(warmRatio)));
  const lambdas = steps === 0 ? [lambda] : geometric(largest, (lambda / largest) ** (1 / steps), steps + 1).slice(1);
  lambdas[lambdas.length - 1] = lambda;
  return { lambdas, selected: lambdas.length - 1 };
}
