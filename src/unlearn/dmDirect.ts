/** DM-Direct (Section 4.3, Algorithm C.2): the outputs of a retrained model, predicted by datamodels; and the calibration of its scale. */
import { LetheError } from '../errors.js';
import type { Datamodels, MethodSetting } from '../types.js';
import type { DirectMethod, ForgetShift, ParameterValue, UnlearnInput } from './method.js';
import { booleanOf, choice, numberOf, positive } from './setting.js';

export interface ForgetShiftInput {
  /** Target firstTarget + t is point * numClasses + class. A block of all targets is as good as all. */
  datamodels: Datamodels;
  /** Default 0. */
  firstTarget?: number;
  numClasses: number;
  /** Train indices. */
  forget: Int32Array;
}

/**
 * sum_{i in F} beta_i for every target of the (block of) datamodels: once per forget set, for all originals.
 * A target without a fit (status nonfinite) gives a NaN shift: it is not hidden.
 * @throws LETHE_FORGET_SET_INVALID when a forget point is no training example of the datamodels
 */
export function forgetShift(input: ForgetShiftInput): ForgetShift {
  const { datamodels, numClasses, firstTarget = 0 } = input;
  const { numTargets, numTrain, rowStart, indices, weights } = datamodels;
  const isForgotten = new Uint8Array(numTrain);
  for (const index of input.forget) {
    if (index < 0 || index >= numTrain) {
      throw new LetheError('LETHE_FORGET_SET_INVALID', 'a forget point is outside the training set of the datamodels', {
        expected: `indices below ${numTrain}`,
        received: String(index),
        action: 'Fit datamodels on the data set that the forget set belongs to.',
      });
    }
    isForgotten[index] = 1;
  }
  const shift = { full: new Float32Array(numTargets), diagonal: new Float32Array(numTargets) };
  for (let target = 0; target < numTargets; target++) {
    const point = Math.floor((firstTarget + target) / numClasses);
    // a target that could not be fitted has no weights and a NaN bias: its shift is unknown, not zero
    let sum = Number.isNaN(datamodels.bias[target]!) ? NaN : 0;
    shift.diagonal[target] = sum;
    for (let k = rowStart[target]!; k < rowStart[target + 1]!; k++) {
      const example = indices[k]!;
      if (!isForgotten[example]) continue;
      sum += weights[k]!;
      if (example === point) shift.diagonal[target] = weights[k]!;
    }
    shift.full[target] = sum;
  }
  return shift;
}

export interface SimulateInput {
  /** (points, numClasses) of one original */
  originalLogits: Float32Array;
  shift: ForgetShift;
  scale: number;
  diagonalOnly: boolean;
}

/**
 * Simulated oracle logits h(x) = f_x(theta_0) - scale * sum_{i in F} beta_i(x), Algorithm C.2. Returns (points, numClasses).
 * @throws LETHE_SHAPE_MISMATCH
 */
export function simulate(input: SimulateInput): Float32Array {
  const { originalLogits, scale } = input;
  const shift = input.diagonalOnly ? input.shift.diagonal : input.shift.full;
  checkLengths('datamodel targets', originalLogits.length, shift.length);
  return originalLogits.map((logit, target) => logit - scale * shift[target]!);
}

/** @throws LETHE_DATAMODELS_MISSING, LETHE_SCALE_UNDEFINED, LETHE_SHAPE_MISMATCH */
export function simulatedLogits(input: UnlearnInput, setting: MethodSetting): Float32Array {
  const diagonalOnly = booleanOf(setting, 'diagonalOnly');
  if (!input.shift) {
    throw new LetheError('LETHE_DATAMODELS_MISSING', 'the method needs datamodels', {
      expected: 'the shift that the forget set makes in every logit',
      action: 'Fit datamodels of the logits first: lethe run PLAN, or lethe fit.',
    });
  }
  const scale = isCalibrated(setting) ? calibratedScale(input, diagonalOnly ? 'diagonal' : 'full') : numberOf(setting, 'scale');
  return simulate({ originalLogits: input.originalLogits, shift: input.shift, scale, diagonalOnly });
}

export function isCalibrated(setting: MethodSetting): boolean {
  return setting['scale'] === calibrated;
}

/** Weights that predict the wrong sign predict nothing: then nothing is subtracted. A scale that is left open gives NaN logits, which are counted. */
function calibratedScale({ calibratedScale: scales }: UnlearnInput, which: keyof ForgetShift): number {
  if (scales) return Math.max(0, scales[which]);
  throw new LetheError('LETHE_SCALE_UNDEFINED', 'the scale of DM-Direct is not calibrated', {
    expected: 'a plan with a calibration',
    action: 'Put calibration: { forgetSet: NAME } into the plan, or give the scale.',
  });
}

/** The word for a scale that a forget set of the plan has given. */
const calibrated = 'calibrated';

/** Shared by DM-Direct and DMM. */
export const simulationParameters = {
  scale: {
    default: 1,
    description: `global factor of the datamodel weights, or ${calibrated}: by the plan's calibration`,
    check: (value: ParameterValue) =>
      value === calibrated ? undefined : positive(1, '').check(value) && `a finite number above 0, or ${calibrated}`,
  },
  diagonalOnly: choice([false, true], 'use memorisation scores only (ablation G.2)'),
  attributor: {
    description: 'attributor of the plan whose datamodels predict; absent: the first',
    check: (value: ParameterValue) => (typeof value === 'string' ? undefined : 'the name of an attributor of the plan'),
  },
};

/** The ablation never stands for the method. */
export function simulationVariant(setting: MethodSetting): string | undefined {
  return setting['diagonalOnly'] === true ? 'diagonal only' : undefined;
}

export const dmDirect: DirectMethod = {
  name: 'dm-direct',
  label: 'DM-Direct',
  mark: { color: '#009e73', shape: 'triangle-right' },
  description:
    'Predicts the outputs of a retrained model from the original and the datamodels, without training (paper, C.2). ' +
    'A prediction needs one forward pass like any model, so its compute fraction is 0.',
  kind: 'direct',
  parameters: simulationParameters,
  paperGrid: () => ({ scale: [1], diagonalOnly: [false] }),
  presets: {},
  needs: { matchedOracles: false, datamodels: true },
  // it costs nothing to show what each attributor predicts; a tuned method chooses one
  variant: (setting) => [setting['attributor'], simulationVariant(setting)].filter((part) => part !== undefined).join(', ') || undefined,
  logits: simulatedLogits,
  computeFraction: () => 0,
};

export interface CalibrateInput {
  /** (points, numClasses) of the held-out forget set, full or diagonal */
  shift: Float32Array;
  /** (points, numClasses) mean logits over the originals */
  originalMean: Float32Array;
  /** (points, numClasses) mean logits over oracles of the held-out forget set */
  oracleMean: Float32Array;
  numClasses: number;
  /** Points of each split; every split weighs the same, as in the average KLOM. */
  splits: Int32Array[];
}

/**
 * The scale of DM-Direct, calibrated once on a forget set that is not unlearned later (paper, G.2 "Consistency of best scaling"): least
 * squares of originalMean - scale * shift against oracleMean, in closed form. May come out non-positive when the datamodels predict
 * nothing; the caller decides.
 * @throws LETHE_SHAPE_MISMATCH, LETHE_SCALE_UNDEFINED when the shift is zero or not finite on all these points
 */
export function calibrateScale(input: CalibrateInput): number {
  const { shift, originalMean, oracleMean, numClasses, splits } = input;
  checkLengths('mean original logits', shift.length, originalMean.length);
  checkLengths('mean oracle logits', shift.length, oracleMean.length);
  let product = 0;
  let square = 0;
  for (const points of splits) {
    for (const point of points) {
      for (let target = point * numClasses; target < (point + 1) * numClasses; target++) {
        const observed = originalMean[target]! - oracleMean[target]!;
        product += (observed * shift[target]!) / points.length;
        square += (shift[target]! * shift[target]!) / points.length;
      }
    }
  }
  const scale = product / square;
  if (Number.isFinite(scale)) return scale;
  throw new LetheError('LETHE_SCALE_UNDEFINED', 'the datamodels leave the scale of DM-Direct undetermined', {
    expected: 'finite datamodel weights of the held-out forget set, not all zero',
    received: `sum of squares ${square}`,
    action: 'Fit with more models, or calibrate on a larger forget set.',
  });
}

function checkLengths(what: string, expected: number, received: number): void {
  if (expected === received) return;
  throw new LetheError('LETHE_SHAPE_MISMATCH', `${what} do not belong to these points and classes`, {
    expected: `${expected} values (points x classes)`,
    received: String(received),
  });
}
