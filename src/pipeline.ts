/**
 * The whole method: data -> train -> datamodels -> unlearn -> evaluate -> report, as stages of tasks that meet in the run folder.
 * Read this file second.
 */
import path from 'node:path';
import { forgetSetSize, forgetSetStage, maskStage } from './data/tasks.js';
import { fitStage, ldsFitStage, logitBlocks, penaltyStage } from './datamodels/tasks.js';
import { engineIdentity } from './engines/index.js';
import type { ScoredMethod } from './evaluate/choice.js';
import { choiceStage } from './evaluate/choiceTasks.js';
import { ldsStage } from './evaluate/ldsTasks.js';
import { scoreStage } from './evaluate/scoreTasks.js';
import { LetheError } from './errors.js';
import type { Stage } from './jobs/task.js';
import { buildNet } from './models/index.js';
import { netForDataset } from './models/onnxImport.js';
import { reportStage } from './report/tasks.js';
import { layout } from './store/folders/layout.js';
import { ldsSplit } from './jobs/ldsSplit.js';
import { openRun as openRunFolder, type RunFolder } from './store/folders/run.js';
import { settleFacts } from './store/folders/runFacts.js';
import { oracleStage, originalStage, repeatStage, subsetStage } from './train/tasks.js';
import type { Dataset, DatasetFacts, Engine, NetSpec, Plan } from './types.js';
import { calibrationStage } from './unlearn/calibration.js';
import { snapshotSettings } from './unlearn/grid.js';
import { trainsOnOracles } from './unlearn/registry.js';
import { type MethodRuns, methodRuns, numTuningOriginals, partialLengths, shiftStage, tuningStage, unlearnStage } from './unlearn/tasks.js';

/**
 * The network of a plan on a data set. onnx: the file of a plan that names one; `note` takes what there is to know of it.
 * @throws LETHE_NET_UNKNOWN, LETHE_NET_INVALID, LETHE_ONNX_UNSUPPORTED
 */
export function planNet({ net }: Plan, dataset: DatasetFacts, onnx?: Uint8Array, note?: (line: string) => void): NetSpec {
  const { height, width, channels, numClasses } = dataset;
  if (!('file' in net)) return buildNet({ ...net, input: { height, width, channels }, numClasses });
  if (!onnx) throw new LetheError('LETHE_NET_INVALID', 'the network of the plan is a file', { expected: `the bytes of ${net.file}` });
  return netForDataset(onnx, net.file, dataset, note);
}

/** Every stage of a plan, in order. A stage needs only what earlier stages published. */
export function planStages(plan: Plan, dataset: DatasetFacts, engine: Engine, net: NetSpec = planNet(plan, dataset)): Stage[] {
  return expandStages(plan, dataset, countParameters(engine, net));
}

function countParameters(engine: Engine, net: NetSpec): number {
  return engine.parameters(net).reduce((sum, tensor) => sum + tensor.size, 0);
}

/** What a run is made with, beside its folder. */
export interface RunInputs {
  plan: Plan;
  dataset: Dataset;
  engine: Engine;
  /** Absent: the network of the plan. */
  net?: NetSpec;
  /** The file of a plan whose network is one. */
  onnx?: Uint8Array;
}

/**
 * With inputs: makes the run folder of a plan, or opens it when it is of the same plan, data, engine and instruction set. Without: opens a
 * run that exists, for reading.
 * @throws LETHE_PLAN_CHANGED, LETHE_RUN_VERSION, LETHE_RUN_MISSING, LETHE_RUN_FOREIGN (exit code 2), LETHE_PLAN_DAMAGED (exit code 3)
 */
export async function openRun(root: string, inputs?: RunInputs): Promise<RunFolder> {
  const folder = path.resolve(root);
  if (!inputs) return openRunFolder(folder);
  const { plan, dataset, engine, onnx } = inputs;
  const net = inputs.net ?? planNet(plan, dataset, onnx);
  const run = await openRunFolder(folder, { plan, identity: { dataset: dataset.sha256, ...engineIdentity(engine) } });
  await settleFacts(run, { dataset, engine: engine.describe(), numParameters: countParameters(engine, net) });
  // the run goes on without the file it came from
  if (onnx && !(await run.isDone(layout.net))) await run.publish([{ path: layout.net, content: onnx }]);
  return run;
}

/** planStages without an engine: for run folders whose facts are known. */
export function expandStages(plan: Plan, dataset: DatasetFacts, numParameters: number): Stage[] {
  const { numTrain, numClasses } = dataset;
  const points = { numTrain, numPoints: numTrain + dataset.numValidation, numClasses };
  const forgetSizes = plan.forgetSets.map(forgetSetSize);
  const methods = methodRuns(plan);
  const unlearnSizes = { ...points, forgetSizes, logitBlocks: logitBlocks(points) };
  const scored = methods.map((runs) => scoredMethod(plan, numTrain, runs));
  return [
    maskStage(plan, numTrain),
    subsetStage(plan, { ...points, numParameters }),
    originalStage(plan, { ...points, numParameters }, numTuningOriginals(plan, methods)),
    repeatStage(plan, { ...points, numParameters }),
    penaltyStage(plan, points),
    fitStage(plan, points),
    ldsFitStage(plan, points),
    ldsStage(plan, ldsSplit(plan)),
    forgetSetStage(plan, numTrain),
    shiftStage(plan, unlearnSizes),
    oracleStage(plan, { ...points, numParameters }, forgetSizes, partialLengths(plan)),
    calibrationStage(plan),
    tuningStage(plan, unlearnSizes),
    choiceStage(plan, scored),
    unlearnStage(plan, unlearnSizes),
    scoreStage(plan, scored),
    reportStage(),
  ];
}

function scoredMethod(plan: Plan, numTrain: number, { method, runs, tuned }: MethodRuns): ScoredMethod {
  return {
    method: method.name,
    kind: method.kind,
    tuned,
    runs,
    trainsOnOracles: trainsOnOracles(method),
    variant: (setting) => method.variant?.(setting),
    compressedTo: (run) => (method.kind === 'reference' ? method.ownRecipe?.(plan.recipe, runs[run]!.setting)?.epochs : undefined),
    snapshotSettings: (run) => snapshotSettings(runs[run]!),
    computeFraction: (run, epochs, numForget) =>
      method.computeFraction({ numForget, numRetain: numTrain - numForget, recipeEpochs: plan.recipe.epochs }, runs[run]!.setting, epochs),
  };
}
