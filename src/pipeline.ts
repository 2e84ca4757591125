/**
 * The whole method: data -> train -> datamodels -> unlearn -> evaluate -> report, as stages of tasks that meet in the run folder.
 * Read this file second.
 */
import { forgetSetSize, forgetSetStage, maskStage } from './data/tasks.js';
import { fitStage, ldsFitStage, logitBlocks, penaltyStage } from './datamodels/tasks.js';
import { choiceStage, ldsStage, scoreStage, type ScoredMethod } from './evaluate/tasks.js';
import { LetheError } from './errors.js';
import type { Stage } from './jobs/task.js';
import { buildNet } from './models/index.js';
import { netForDataset } from './models/onnxImport.js';
import { reportStage } from './report/tasks.js';
import { ldsSplit } from './store/ldsSplit.js';
import { oracleStage, originalStage, subsetStage } from './train/tasks.js';
import type { DatasetFacts, Engine, NetSpec, Plan } from './types.js';
import { snapshotSettings } from './unlearn/index.js';
import { type MethodRuns, methodRuns, shiftStage, tuningStage, unlearnStage } from './unlearn/tasks.js';

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

export function countParameters(engine: Engine, net: NetSpec): number {
  return engine.parameters(net).reduce((sum, tensor) => sum + tensor.size, 0);
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
    originalStage(plan, { ...points, numParameters }),
    penaltyStage(plan, points),
    fitStage(plan, points),
    ldsFitStage(plan, points),
    ldsStage(plan, ldsSplit(plan)),
    forgetSetStage(plan, numTrain),
    shiftStage(plan, unlearnSizes),
    oracleStage(plan, { ...points, numParameters }, forgetSizes, partialEpochs(methods)),
    tuningStage(plan, unlearnSizes),
    choiceStage(plan, scored),
    unlearnStage(plan, unlearnSizes),
    scoreStage(plan, scored),
    reportStage(),
  ];
}

/** Lengths at which matched oracles are also evaluated, so that partial retraining costs no extra models. */
function partialEpochs(methods: MethodRuns[]): number[] {
  const partial = methods.find(({ method }) => method.name === 'partial-retrain');
  return partial?.runs.flatMap((run) => run.evalEpochs) ?? [];
}

function scoredMethod(plan: Plan, numTrain: number, { method, runs, tuned }: MethodRuns): ScoredMethod {
  return {
    method: method.name,
    kind: method.kind,
    tuned,
    runs,
    snapshotSettings: (run) => snapshotSettings(runs[run]!),
    computeFraction: (run, epochs, numForget) =>
      method.computeFraction({ numForget, numRetain: numTrain - numForget, recipeEpochs: plan.recipe.epochs }, runs[run]!.setting, epochs),
  };
}
