/** The originals of a run unlearn a forget set, as files. */
import fs from 'node:fs';
import path from 'node:path';
import { range, retainIndices, splitPoints } from '../data/indices.js';
import { resolveForgetSet } from '../data/forgetSets.js';
import { logitBlocks } from '../datamodels/tasks.js';
import { type DeviceName, engineIdentity, type EngineName } from '../engines/index.js';
import { didYouMean, LetheError } from '../errors.js';
import type { TaskContext } from '../jobs/task.js';
import { readCheckpoint } from '../store/contents/checkpoint.js';
import { sha256 } from '../store/disk/files.js';
import { encodeJson } from '../store/disk/json.js';
import { layout } from '../store/folders/layout.js';
import { fillModelFolder, type ModelCommand } from '../store/folders/modelFolder.js';
import { decodeIndices, encodeIndices } from '../store/contents/npyArtefact.js';
import { publishFile } from '../store/disk/publish.js';
import { modelKey, trainingJob } from '../train/jobs.js';
import { type MethodName, type MethodSetting, type SplitName, type TrainJob } from '../types.js';
import { lengthOf, unlearnedLogits, unlearnJob, unlearnMethod } from '../unlearn/index.js';
import type { DirectMethod, UnlearnInput, UnlearnMethod } from '../unlearn/index.js';
import { readCalibration } from '../unlearn/calibration.js';
import { makesModels } from '../unlearn/registry.js';
import { attributorOfSetting } from '../unlearn/tasks.js';
import { computeShift, readInputs, readMatchedOracles, shiftParts } from '../unlearn/inputs.js';
import { makeModels, modelRange, type ModelSummary, numbers, writeOutputs, requireSomeTrained } from './models.js';
import { engineOf, reopenSession } from './session.js';
import type { Talk } from './talk.js';
import { describeSetting, resolveSetting } from './unlearnSetting.js';

export interface UnlearnOptions extends Talk {
  /** Run folder with the originals, and the datamodels for methods that need them. */
  run: string;
  data?: string;
  /** Name of a forget set of the run, an index file, or random:SIZE:SEED. */
  forgetSet: string;
  method: MethodName;
  /** Default: the setting that the run chose for the forget set. */
  preset?: string;
  /** Values in place of those of the setting. */
  set?: MethodSetting;
  /** "3": how many originals; "4-7": which. Default: all. */
  models?: string;
  /** A .safetensors model of the same network that unlearns instead of the originals. */
  checkpoint?: string;
  out: string;
  /** Default: the run's. */
  engine?: EngineName;
  device?: DeviceName;
  threads?: number;
}

/** Content of unlearn.json. */
export interface Unlearned {
  plan: string;
  planHash: string;
  method: MethodName;
  setting: MethodSetting;
  settingSource: object;
  forgetSet: { name: string; size: number };
  computeFraction: number;
  engine: Record<string, string | number>;
  models: ModelSummary[];
}

/**
 * The originals of a run unlearn a forget set: checkpoints, logits and margins in `out`. The same call resumes.
 *
 * @example
 * const { models } = await unlearn({ run: 'runs/quickstart', forgetSet: 'random:10:1', method: 'dmm', out: 'unlearned' });
 *
 * @throws LETHE_METHOD_UNKNOWN, LETHE_RUN_MISSING, LETHE_SETTING_*, LETHE_FORGET_SET_*, LETHE_MODELS_CHANGED, LETHE_MODELS_DIVERGED
 */
export async function unlearn(options: UnlearnOptions): Promise<Unlearned> {
  const { note, threads = 0, engine: engineName, device } = options;
  const method = unlearnMethod(options.method);
  const reopened = await reopenSession(options.run, { ...options, threads });
  // a device without an engine is one for the run's engine
  const choice = { engine: engineName ?? (reopened.context.engine.name as EngineName), device: device ?? 'cpu', threads };
  const asked = engineName !== undefined || device !== undefined;
  const context = asked ? { ...reopened.context, engine: engineOf(choice, note) } : reopened.context;
  const { plan, dataset, engine } = context;
  const resolved = await resolveSetting(context, method, options);
  const { setting } = resolved;
  const { forget, forgetSetIndex } = await findForgetSet(context, options.forgetSet);
  const start = options.checkpoint === undefined ? undefined : await readStart(context, options.checkpoint, options);
  const models = modelRange(start ? '1' : (options.models ?? String(plan.originals.count)), plan.originals.count);
  const request = {
    context,
    method,
    setting,
    forget,
    forgetSetIndex,
    models,
    ...(start ? { start } : {}),
    out: options.out,
    talk: options,
  };
  const description = describeSetting(method, resolved);
  if (description !== undefined) note?.(description);
  const summaries = await unlearnModels(request);
  const sizes = { numForget: forget.length, numRetain: dataset.numTrain - forget.length, recipeEpochs: plan.recipe.epochs };
  const document: Unlearned = {
    plan: plan.name,
    planHash: context.run.planHash,
    method: method.name,
    setting,
    settingSource: { ...resolved.source, changed: resolved.changed },
    forgetSet: { name: options.forgetSet, size: forget.length },
    computeFraction: method.computeFraction(sizes, setting, lengthOf(setting, plan.recipe)),
    engine: engine.describe(),
    models: summaries,
  };
  await publishFile(path.join(options.out, 'forget-set.npy'), encodeIndices(forget));
  await publishFile(path.join(options.out, 'unlearn.json'), encodeJson(document));
  requireSomeTrained(
    summaries,
    `The usual cause is a learning rate that is too large: try a smaller --set learningRate=RATE, in another --out. What was made is in ${options.out}.`,
  );
  return document;
}

/** What is asked for, with everything looked up. */
interface Request {
  context: TaskContext;
  method: UnlearnMethod;
  setting: MethodSetting;
  forget: Int32Array;
  /** Position among the plan's forget sets; their number for another one. */
  forgetSetIndex: number;
  models: { first: number; end: number };
  /** Starts from this model instead of original 0. */
  start?: { parameters: Float32Array; logits: Float32Array };
  out: string;
  talk: Talk;
}

/**
 * A model from elsewhere as a starting point, with its logits on every point.
 * @throws LETHE_OPTION_INVALID, LETHE_CHECKPOINT_DATASET, errors of readCheckpoint
 */
async function readStart(
  { engine, net, dataset, threads = 0 }: TaskContext,
  file: string,
  { models, note, signal }: Pick<UnlearnOptions, 'models' | 'note' | 'signal'>,
): Promise<{ parameters: Float32Array; logits: Float32Array }> {
  if (models !== undefined) {
    throw new LetheError('LETHE_OPTION_INVALID', '--checkpoint and --models exclude each other', { action: 'Give one of them.' });
  }
  const { parameters, metadata, notes } = await readCheckpoint(file, engine.parameters(net));
  for (const line of notes) note?.(line);
  const trainedOn = metadata.get('dataset');
  if (trainedOn !== undefined && trainedOn !== dataset.sha256) {
    throw new LetheError('LETHE_CHECKPOINT_DATASET', `${file} was trained on other data than the run`, {
      expected: `data set ${dataset.sha256}`,
      received: trainedOn,
      action: 'A model can only forget what it was trained on: use a run on its data set.',
    });
  }
  const options = { threads, ...(signal ? { signal } : {}) };
  return { parameters, logits: await engine.forwardMany(net, dataset, [parameters], range(dataset.labels.length), options) };
}

async function findForgetSet(context: TaskContext, text: string): Promise<{ forget: Int32Array; forgetSetIndex: number }> {
  const { plan, run, dataset } = context;
  const names = plan.forgetSets.map(({ name }) => name);
  const forgetSetIndex = names.indexOf(text);
  if (forgetSetIndex >= 0) return { forget: decodeIndices(await run.read(layout.forgetSet(text))), forgetSetIndex };
  const random = /^random:(\d{1,9}):(\d{1,15})$/.exec(text);
  if (!random && !fs.existsSync(text)) {
    throw new LetheError('LETHE_FORGET_SET_UNKNOWN', `there is no forget set "${text}"`, {
      expected: `one of the run's (${names.join(', ')}), an index file, or random:SIZE:SEED`,
      received: text,
      action: didYouMean(text, names),
    });
  }
  const spec = random
    ? ({ name: text, kind: 'random', size: Number(random[1]), seed: Number(random[2]) } as const)
    : ({ name: text, kind: 'file', path: text } as const);
  const { indices } = await resolveForgetSet(spec, { numTrain: dataset.numTrain });
  return { forget: indices, forgetSetIndex: names.length };
}

async function unlearnModels(request: Request): Promise<ModelSummary[]> {
  const { context, method, setting, forget, models, out, talk } = request;
  const { dataset, engine, net } = context;
  const { validation, ...train } = splitPoints(dataset, forget);
  const splits: Partial<Record<SplitName, Int32Array>> = validation.length > 0 ? { ...train, validation } : train;
  const jobs = await jobMaker(request);
  const command: ModelCommand = {
    planHash: context.run.planHash,
    run: sha256(await context.run.read(layout.identity)), // what made the originals
    dataset: dataset.sha256,
    method: method.name,
    setting,
    forgetSet: { index: request.forgetSetIndex, sha256: sha256(forget) },
    ...(request.start ? { startSha256: sha256(request.start.parameters) } : {}),
    ...engineIdentity(engine),
  };
  if (!jobs) {
    const owner = { models, command, checkpoints: false };
    return fillModelFolder(out, owner, () => directModels(request, method as DirectMethod, splits));
  }
  const threads = context.threads ?? 0;
  return makeModels({ engine, net, dataset, jobs, models, out, splits, command: () => command, label: method.name, threads, talk });
}

/** Undefined for methods that train nothing. */
async function jobMaker(request: Request): Promise<((first: number, end: number) => Promise<TrainJob[]>) | undefined> {
  const { context, method, setting, forget, forgetSetIndex } = request;
  const { plan, dataset } = context;
  if (method.kind === 'direct') return undefined;
  if (method.kind === 'job') {
    const read = await inputReader(request);
    return async (first, end) => (await read(first, end)).map((input) => unlearnJob(method, input, setting));
  }
  if (!makesModels(method)) {
    throw new LetheError('LETHE_METHOD_REFERENCE', `${method.name} has no models of its own`, {
      expected: 'a method that makes models',
      action: 'Its margins are those of the matched oracles at fewer epochs: put it into a plan and use lethe run.',
    });
  }
  // the same models as the run's matched oracles, whose weights the run does not keep
  const retain = retainIndices(dataset.numTrain, forget);
  const key = (model: number) => modelKey({ kind: 'oracle', forgetSetIndex, role: 'matched' }, model);
  return (first, end) => Promise.resolve(numbers(first, end).map((model) => trainingJob(plan.recipe, plan.seed, key(model), retain)));
}

/** What the method needs beside the originals is read once. */
async function inputReader(request: Request): Promise<(first: number, end: number) => Promise<UnlearnInput[]>> {
  const { context, method, setting, forget, forgetSetIndex, start } = request;
  const { plan, run, dataset } = context;
  const points = { numTrain: dataset.numTrain, numPoints: dataset.labels.length, numClasses: dataset.numClasses };
  const forgetSet = plan.forgetSets[forgetSetIndex]?.name;
  if (method.needs.matchedOracles && forgetSet === undefined) {
    throw new LetheError('LETHE_ORACLES_MISSING', `${method.name} needs matched oracles of this forget set`, {
      expected: `a forget set of the run: ${plan.forgetSets.map(({ name }) => name).join(', ')}`,
      action: 'Put the forget set into a plan, or use dmm, which needs no oracles.',
    });
  }
  const shiftOf = async () => {
    const { folder } = attributorOfSetting(plan, setting);
    const shift = shiftParts(await computeShift(run, { ...points, logitBlocks: logitBlocks(points) }, forget, folder));
    return { shift, ...(await readCalibration(context, setting, folder)) };
  };
  const shared = {
    forget,
    ...(method.needs.datamodels ? await shiftOf() : {}),
    ...(method.needs.matchedOracles ? { oracles: await readMatchedOracles(context, forgetSet!) } : {}),
  };
  return async (first, end) => {
    const inputs = await readInputs(context, { ...shared, first, end });
    if (!start) return inputs;
    const { parameters: originalParameters, logits: originalLogits } = start;
    return inputs.map((input) => ({ ...input, originalDiverged: false, originalParameters, originalLogits }));
  };
}

async function directModels(request: Request, method: DirectMethod, splits: Record<string, Int32Array>): Promise<ModelSummary[]> {
  const { context, models, out, setting } = request;
  const { dataset } = context;
  const read = await inputReader(request);
  const rowSize = dataset.labels.length * dataset.numClasses;
  const logits = new Float32Array((models.end - models.first) * rowSize); // (models, points, classes)
  const inputs = await read(models.first, models.end);
  inputs.forEach((input, row) => {
    logits.set(unlearnedLogits(method, input, setting), row * rowSize);
  });
  const made = inputs.map(({ modelIndex, originalDiverged }) => ({
    model: modelIndex,
    status: originalDiverged ? ('diverged' as const) : ('trained' as const),
    gradientImages: 0,
  }));
  return writeOutputs({ dataset, out, splits }, made, logits);
}
