/** lethe unlearn: the originals of a run unlearn a forget set, as files. */
import fs from 'node:fs';
import path from 'node:path';
import { Option } from 'commander';
import { range, retainIndices, splitPoints } from '../data/indices.js';
import { resolveForgetSet } from '../data/forgetSets.js';
import { logitBlocks } from '../datamodels/tasks.js';
import { deviceNames, engineIdentity, type EngineName, engineNames } from '../engines/index.js';
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
import { type MethodSetting, type SplitName, type TrainJob } from '../types.js';
import { lengthOf, unlearnedLogits, unlearnJob, unlearnMethod } from '../unlearn/index.js';
import type { DirectMethod, UnlearnInput, UnlearnMethod } from '../unlearn/index.js';
import { makesModels, methods } from '../unlearn/registry.js';
import { computeShift, readInputs, readMatchedOracles, shiftParts } from '../unlearn/inputs.js';
import { action, type Command, dataHelp, emitJson, interruptSignal, jsonHelp, say, threadsHelp, processorCount } from './common.js';
import { deviceHelp, type EngineFlags, engineOf } from './engine.js';
import { describeModels, makeModels, modelRange, type ModelSummary, numbers, writeOutputs, requireSomeTrained } from './models.js';
import { reopenSession } from './session.js';
import { describeSetting, resolveSetting } from './unlearnSetting.js';

interface UnlearnVerbOptions extends Partial<EngineFlags> {
  run: string;
  data?: string;
  forgetSet: string;
  method: string;
  preset?: string;
  set?: MethodSetting;
  models?: string;
  checkpoint?: string;
  out: string;
  threads: number;
  json?: boolean;
}

const methodsHere = methods.filter(makesModels);

function describeMethod({ name, label, parameters, presets }: UnlearnMethod): string {
  const lines = Object.entries(parameters).map(
    ([key, { default: value, description, when = {} }]) =>
      `    ${key.padEnd(20)} ${[description, ...Object.entries(when).map(([other, needed]) => `only with ${other}=${needed}`)].join(', ')} (default: ${value})`,
  );
  const settings = Object.entries(presets).map(([preset, setting]) => `    --preset ${preset.padEnd(11)} ${JSON.stringify(setting)}`);
  return `  ${name}${label === name ? '' : ` (${label})`}\n${[...lines, ...settings].map((line) => `${line}\n`).join('')}`;
}

export function registerUnlearn(program: Command): void {
  program
    .command('unlearn')
    .description(
      'unlearn a forget set in the original models of a run, or in a model given as a file; writes checkpoints, logits and margins; ' +
        'the same command resumes after an interruption',
    )
    .requiredOption('--run <dir>', 'run folder with the originals (and the datamodels, for dmm and dm-direct)')
    .requiredOption('--forget-set <set>', 'name of a forget set of the run, an index file (.npy or text), or random:SIZE:SEED')
    .requiredOption('--method <name>', `unlearning method: ${methodsHere.map(({ name }) => name).join(', ')}`)
    .option(
      '--preset <name>',
      "a setting from the list below; published: the paper's, every method has one (default: the setting that the run chose for the forget set)",
    )
    .option(
      '--set <key=value>',
      'a hyper-parameter of the list below, in place of the value it would have; may be repeated',
      collectSetting,
    )
    .option('--models <range>', 'how many originals, or which: 4-7 (default: all)')
    .option('--checkpoint <file>', '.safetensors model of the same network that unlearns instead of the originals')
    .requiredOption('--out <dir>', 'folder for model-*.safetensors, logits.npy, margins.npy, forget-set.npy, unlearn.json')
    .addOption(new Option('--engine <name>', "engine (default: the run's)").choices(engineNames))
    .addOption(new Option('--device <name>', `${deviceHelp} (default: the run's)`).choices(deviceNames))
    .option('--data <dir>', dataHelp)
    .option('--threads <count>', threadsHelp, processorCount(0), 0)
    .option('--json', jsonHelp)
    .addHelpText('after', () => `\nHyper-parameters and presets:\n${methodsHere.map(describeMethod).join('')}`)
    .action(action(unlearnVerb));
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
  signal: AbortSignal;
}

async function unlearnVerb(options: UnlearnVerbOptions): Promise<void> {
  const started = Date.now();
  const method = unlearnMethod(options.method);
  const reopened = await reopenSession(options.run, options);
  const { engine: engineName, device, threads } = options;
  // a device without an engine is one for the run's engine
  const choice = { engine: engineName ?? (reopened.context.engine.name as EngineName), device: device ?? 'cpu', threads };
  const asked = engineName !== undefined || device !== undefined;
  const context = asked ? { ...reopened.context, engine: engineOf(choice) } : reopened.context;
  const { plan, dataset, engine } = context;
  const resolved = await resolveSetting(context, method, options);
  const { setting } = resolved;
  const { forget, forgetSetIndex } = await findForgetSet(context, options.forgetSet);
  const signal = interruptSignal({ resumes: true });
  const start = options.checkpoint === undefined ? undefined : await readStart(context, options.checkpoint, options.models, signal);
  const models = modelRange(start ? '1' : (options.models ?? String(plan.originals.count)), plan.originals.count);
  const request = { context, method, setting, forget, forgetSetIndex, models, ...(start ? { start } : {}), out: options.out, signal };
  const description = describeSetting(method, resolved);
  if (description !== undefined) say(description);
  const summaries = await unlearnModels(request);
  const sizes = { numForget: forget.length, numRetain: dataset.numTrain - forget.length, recipeEpochs: plan.recipe.epochs };
  const document = {
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
  if (options.json) emitJson('unlearn', { ...document, seconds: (Date.now() - started) / 1000 });
  else process.stdout.write(`${method.label}: ${describeModels(summaries)}, in ${options.out}\n`);
}

/**
 * A model from elsewhere as a starting point, with its logits on every point.
 * @throws LETHE_OPTION_INVALID, LETHE_CHECKPOINT_DATASET, errors of readCheckpoint
 */
async function readStart(
  { engine, net, dataset, threads = 0 }: TaskContext,
  file: string,
  models: string | undefined,
  signal: AbortSignal,
): Promise<{ parameters: Float32Array; logits: Float32Array }> {
  if (models !== undefined) {
    throw new LetheError('LETHE_OPTION_INVALID', '--checkpoint and --models exclude each other', { action: 'Give one of them.' });
  }
  const { parameters, metadata, notes } = await readCheckpoint(file, engine.parameters(net));
  notes.forEach(say);
  const trainedOn = metadata.get('dataset');
  if (trainedOn !== undefined && trainedOn !== dataset.sha256) {
    throw new LetheError('LETHE_CHECKPOINT_DATASET', `${file} was trained on other data than the run`, {
      expected: `data set ${dataset.sha256}`,
      received: trainedOn,
      action: 'A model can only forget what it was trained on: use a run on its data set.',
    });
  }
  return { parameters, logits: await engine.forwardMany(net, dataset, [parameters], range(dataset.labels.length), { threads, signal }) };
}

/** "learningRate=1e-3": numbers and true/false are recognised, all else is text. */
function collectSetting(text: string, setting: MethodSetting = {}): MethodSetting {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined || value === undefined) {
    throw new LetheError('LETHE_OPTION_INVALID', '--set takes a hyper-parameter and its value', {
      expected: 'key=value, such as learningRate=1e-3',
      received: JSON.stringify(text),
    });
  }
  const words: Record<string, boolean> = { true: true, false: false };
  const number = value.trim() === '' ? NaN : Number(value);
  return { ...setting, [key]: words[value] ?? (Number.isNaN(number) ? value : number) };
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
  const { context, method, setting, forget, models, out, signal } = request;
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
  return makeModels({ engine, net, dataset, jobs, models, out, splits, command: () => command, label: method.name, threads, signal });
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
  const { context, method, forget, forgetSetIndex, start } = request;
  const { plan, run, dataset } = context;
  const points = { numTrain: dataset.numTrain, numPoints: dataset.labels.length, numClasses: dataset.numClasses };
  const forgetSet = plan.forgetSets[forgetSetIndex]?.name;
  if (method.needs.matchedOracles && forgetSet === undefined) {
    throw new LetheError('LETHE_ORACLES_MISSING', `${method.name} needs matched oracles of this forget set`, {
      expected: `a forget set of the run: ${plan.forgetSets.map(({ name }) => name).join(', ')}`,
      action: 'Put the forget set into a plan, or use dmm, which needs no oracles.',
    });
  }
  const shared = {
    forget,
    ...(method.needs.datamodels
      ? { shift: shiftParts(await computeShift(run, { ...points, logitBlocks: logitBlocks(points) }, forget)) }
      : {}),
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
