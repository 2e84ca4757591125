/** The scale of DM-Direct from a forget set of the plan, once for all (G.2): its matched oracles, never a scored one. */
import { attributorsOf, canBeFitted, type PlannedAttributor } from '../attributors/planned.js';
import { splitPoints } from '../data/indices.js';
import { errorCode } from '../errors.js';
import { datamodelInputs, forgetSetInputs, trainingInputs } from '../jobs/planInputs.js';
import type { Stage, Task, TaskContext } from '../jobs/task.js';
import { decodeFloats, decodeIndices } from '../store/contents/npyArtefact.js';
import { decodeJson, encodeJson } from '../store/disk/json.js';
import { layout } from '../store/folders/layout.js';
import type { MethodSetting, Plan } from '../types.js';
import { calibrateScale, isCalibrated } from './dmDirect.js';
import { readInputs, readMatchedOracles, shiftParts } from './inputs.js';
import type { CalibratedScale, ForgetShift } from './method.js';

/** A scale for each attributor. */
export function calibrationStage(plan: Plan): Stage {
  const calibrated = plan.calibration ? attributorsOf(plan).filter((planned) => canBeFitted(plan, planned)) : [];
  return { name: 'calibration', tasks: calibrated.map((planned) => calibrationTask(plan, planned)) };
}

/** All that decides the scale of an attributor. */
export function calibrationInputs(plan: Plan, planned: PlannedAttributor): object {
  const index = plan.forgetSets.findIndex(({ name }) => name === plan.calibration?.forgetSet);
  return {
    calibration: forgetSetInputs(plan, index),
    training: trainingInputs(plan),
    models: { originals: plan.originals.count, matched: plan.oracles.matched, forgetSetIndex: index },
    datamodels: datamodelInputs(plan, planned),
  };
}

function calibrationTask(plan: Plan, planned: PlannedAttributor): Task {
  const artefact = layout.calibration(planned.folder);
  const { forgetSet } = plan.calibration!;
  return {
    id: artefact,
    label: `scale of ${planned.name} on ${forgetSet}`,
    artefacts: [artefact],
    cost: 0,
    models: 0,
    bytes: 4096,
    inputs: calibrationInputs(plan, planned),
    async produce(context) {
      return [{ path: artefact, content: encodeJson({ forgetSet, ...(await calibrate(context, forgetSet, planned.folder)) }) }];
    },
  };
}

async function calibrate(context: TaskContext, forgetSet: string, folder: string | undefined): Promise<CalibratedScale> {
  const { plan, run, dataset } = context;
  const { numClasses } = dataset;
  const forget = decodeIndices(await run.read(layout.forgetSet(forgetSet)));
  const shift = shiftParts(decodeFloats(await run.read(layout.forgetShift(forgetSet, folder))));
  const { mean: oracleMean } = await readMatchedOracles(context, forgetSet);
  const originals = await readInputs(context, { forget, first: 0, end: plan.originals.count });
  const originalMean = meanOf(originals.filter(({ originalDiverged }) => !originalDiverged).map(({ originalLogits }) => originalLogits));
  const splits = Object.values(splitPoints(dataset, forget)).filter((points) => points.length > 0);
  const scale = (which: keyof ForgetShift): number => {
    try {
      return calibrateScale({ shift: shift[which], originalMean, oracleMean, numClasses, splits });
    } catch (error) {
      if (errorCode(error) === 'LETHE_SCALE_UNDEFINED') return NaN; // there is nothing to scale
      throw error;
    }
  };
  return { full: scale('full'), diagonal: scale('diagonal') };
}

function meanOf(rows: readonly Float32Array[]): Float32Array {
  return Float32Array.from(rows[0] ?? [], (_, i) => rows.reduce((sum, row) => sum + row[i]!, 0) / rows.length);
}

/** What a setting needs of it, as part of the inputs of unlearning. @throws LETHE_ARTEFACT_MISSING, LETHE_ARTEFACT_DAMAGED (exit code 3) */
export async function readCalibration(
  { plan, run }: Pick<TaskContext, 'plan' | 'run'>,
  setting: MethodSetting,
  folder: string | undefined,
): Promise<{ calibratedScale?: CalibratedScale }> {
  if (!isCalibrated(setting) || plan.calibration === undefined) return {};
  const artefact = layout.calibration(folder);
  return { calibratedScale: decodeJson(await run.read(artefact), artefact) as CalibratedScale };
}
