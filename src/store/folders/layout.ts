/** The only file that knows where things lie in a run folder. All paths are relative to it, with forward slashes. */
import { LetheError } from '../../errors.js';

/** Names of runs, forget sets, outputs: safe as file names everywhere and never seen by a shell. */
const namePattern = /^[a-z0-9][a-z0-9._-]{0,63}$/;

export function isName(text: string): boolean {
  return namePattern.test(text);
}

/** @throws LETHE_NAME_INVALID (exit code 2) */
function requireName(text: string, what: string): string {
  if (isName(text)) return text;
  throw new LetheError('LETHE_NAME_INVALID', `the ${what} is no name`, {
    expected: 'lower-case letters, digits, ".", "_" and "-", beginning with a letter or digit, at most 64',
    received: JSON.stringify(text.slice(0, 80)),
  });
}

/** Shards lie in folders of a thousand: 17 -> "00/shard-00017.arrow". */
function shardFile(shard: number): string {
  return `shard-${number5(shard)}.arrow`;
}

function number5(index: number): string {
  return String(index).padStart(5, '0');
}

function methodFolder(forgetSet: string, method: string): string {
  return `unlearned/${forgetSetName(forgetSet)}/${requireName(method, 'method')}`;
}

function datamodelFolder(attributor: string | undefined): string {
  return attributor === undefined ? 'datamodels' : `datamodels/${requireName(attributor, 'attributor')}`;
}

function forgetSetName(name: string): string {
  return requireName(name, 'forget set');
}

const fieldsOfTargets = ['logits', 'margins'] as const;

export const layout = {
  plan: 'plan.json',
  identity: 'identity.json',
  /** What the data set and the engine were, for verbs that only read. */
  facts: 'facts.json',
  /** The ONNX file of a plan that names one. */
  net: 'net.onnx',
  provenance: 'provenance.json',
  failed: 'failed.jsonl',
  masks: 'masks.arrow',
  ldsScores: 'scores/lds.json',
  subsetOutputs: (shard: number): string => `outputs/${String(Math.floor(shard / 1000)).padStart(2, '0')}/${shardFile(shard)}`,
  /** Models on the masks that the LDS curve holds out, trained a second time. */
  repeatedOutputs: (shard: number): string => `outputs/again/${shardFile(shard)}`,
  originals: (shard: number): string => `originals/${shardFile(shard)}`,
  /** Originals beyond the scored ones. */
  tuningOriginals: (shard: number): string => `originals/tuning/${shardFile(shard)}`,
  oracles: (forgetSet: string, role: 'scored' | 'matched', shard: number): string =>
    `oracles/${forgetSetName(forgetSet)}/${role}/${shardFile(shard)}`,
  /** Retrained on the retain set with the recipe compressed to `epochs`. */
  compressed: (forgetSet: string, epochs: number, shard: number): string =>
    `oracles/${forgetSetName(forgetSet)}/compressed-${number5(epochs)}/${shardFile(shard)}`,
  /** Outputs of the subset models by columns, while datamodels are fitted. */
  outputColumns: 'datamodels/outputs.f32',
  outputColumnsIndex: 'datamodels/outputs.json',
  /** What was chosen for the targets of all blocks together; here and below `attributor`: absent for the first one of the plan. */
  penalties: (targets: (typeof fieldsOfTargets)[number], attributor?: string): string =>
    `${datamodelFolder(attributor)}/penalties-${targets}.json`,
  /** Datamodels of a block of logit targets. */
  logitDatamodels: (block: number, attributor?: string): string => `${datamodelFolder(attributor)}/logits-${number5(block)}.arrow`,
  /** Datamodels of the margins of all train points. */
  marginDatamodels: 'datamodels/margins.arrow',
  /** Predictions for the held-out masks of a fit on `numModels` models. */
  ldsPredictions: (attributor: string, numModels: number): string =>
    `datamodels/lds-${requireName(attributor, 'attributor')}-${numModels}.npy`,
  /** What a forget set changes in every logit. */
  forgetShift: (name: string, attributor?: string): string => `${datamodelFolder(attributor)}/shift-${forgetSetName(name)}.npy`,
  /** Scales of DM-Direct from the forget set of the plan's calibration. */
  calibration: (attributor?: string): string => `${datamodelFolder(attributor)}/scale.json`,
  forgetSet: (name: string): string => `forget-sets/${forgetSetName(name)}.npy`,
  /** One run of a tuned grid on the tuning originals, and which run was chosen. */
  tuningRun: (forgetSet: string, method: string, run: number): string =>
    `${methodFolder(forgetSet, method)}/tuning/run-${number5(run)}.arrow`,
  tuningChoice: (forgetSet: string, method: string): string => `${methodFolder(forgetSet, method)}/tuning.json`,
  /** Final outputs: of the chosen run of a tuned grid, or of each run by number. */
  unlearned: (forgetSet: string, method: string, run: number | 'chosen', shard: number): string =>
    `${methodFolder(forgetSet, method)}/${run === 'chosen' ? run : `run-${number5(run)}`}/${shardFile(shard)}`,
  scores: (forgetSet: string): string => `scores/${forgetSetName(forgetSet)}.json`,
  /** The same divergences by estimates without a histogram's bias. */
  unbiasedScores: (forgetSet: string): string => `scores/unbiased/${forgetSetName(forgetSet)}.json`,
  report: (file: string): string =>
    `report/${file
      .split('/')
      .map((part) => requireName(part, 'report file'))
      .join('/')}`,
} as const;

const blockPattern = /^targets-(\d{9,})-(\d{9,})\.arrow$/;

/** The folder of `lethe fit`; command.json and the blocks lie in `blocks`. */
export const fitLayout = {
  datamodels: 'datamodels.arrow',
  record: 'fit.json',
  /** What tells held-out masks from the fit's own; also beside dense datamodels that are exported. */
  maskRows: 'mask-rows.npy',
  blocks: 'blocks',
  command: 'command.json',
  /** Datamodels of targets [first, end), inside the folder of the blocks; names sort by `first`. */
  block: (first: number, end: number): string => `targets-${String(first).padStart(9, '0')}-${String(end).padStart(9, '0')}.arrow`,
  blockSpan: (name: string): { first: number; end: number } | undefined => {
    const [, first, end] = blockPattern.exec(name) ?? [];
    return first === undefined ? undefined : { first: Number(first), end: Number(end) };
  },
} as const;

const checkpointPattern = /^model-(\d{5,})\.safetensors$/;

/** The folder of `lethe train` and `lethe unlearn`. */
export const modelLayout = {
  logits: 'logits.npy',
  checkpoint: (model: number): string => `model-${number5(model)}.safetensors`,
  /** The model of a checkpoint's name. */
  modelOf: (name: string): number | undefined => {
    const [, model] = checkpointPattern.exec(name) ?? [];
    return model === undefined ? undefined : Number(model);
  },
} as const;

/** Forget sets cannot have these names: their scores would share a file with something else. */
export const reservedForgetSetNames: readonly string[] = ['lds'];

/** True for the files of the report: one task makes them together, and its page stands for all. */
export function isReportPath(file: string): boolean {
  return file.startsWith('report/');
}

const manifestFolder = 'manifest/';

/** Where the manifest of an artefact lies. */
export function manifestPath(artefact: string): string {
  return `${manifestFolder}${artefact}.json`;
}

/** The artefact a manifest file belongs to; undefined for paths that are no manifests. */
export function manifestedArtefact(file: string): string | undefined {
  return file.startsWith(manifestFolder) && file.endsWith('.json') ? file.slice(manifestFolder.length, -'.json'.length) : undefined;
}

/** A name as it is in examples. */
const any = 'any';

/** Paths of every kind, with `any` for names and zeros for numbers; none for files that no manifest is of. */
const examples: Record<keyof typeof layout, readonly string[]> = {
  plan: [layout.plan],
  identity: [layout.identity],
  facts: [layout.facts],
  net: [layout.net],
  provenance: [],
  failed: [],
  masks: [layout.masks],
  ldsScores: [layout.ldsScores],
  subsetOutputs: [layout.subsetOutputs(0)],
  repeatedOutputs: [layout.repeatedOutputs(0)],
  originals: [layout.originals(0)],
  tuningOriginals: [layout.tuningOriginals(0)],
  oracles: [layout.oracles(any, 'scored', 0), layout.oracles(any, 'matched', 0)],
  compressed: [layout.compressed(any, 0, 0)],
  outputColumns: [layout.outputColumns],
  outputColumnsIndex: [layout.outputColumnsIndex],
  penalties: fieldsOfTargets.flatMap((field) => [layout.penalties(field), layout.penalties(field, any)]),
  logitDatamodels: [layout.logitDatamodels(0), layout.logitDatamodels(0, any)],
  marginDatamodels: [layout.marginDatamodels],
  ldsPredictions: [layout.ldsPredictions(any, 0)],
  forgetShift: [layout.forgetShift(any), layout.forgetShift(any, any)],
  calibration: [layout.calibration(), layout.calibration(any)],
  forgetSet: [layout.forgetSet(any)],
  tuningRun: [layout.tuningRun(any, any, 0)],
  tuningChoice: [layout.tuningChoice(any, any)],
  unlearned: [layout.unlearned(any, any, 'chosen', 0), layout.unlearned(any, any, 0, 0)],
  scores: [layout.scores(any)],
  unbiasedScores: [layout.unbiasedScores(any)],
  report: [layout.report(any), layout.report(`${any}/${any}`), layout.report(`${any}/${any}/${any}`)],
};

const artefactPattern = new RegExp(
  `^(${Object.values(examples)
    .flat()
    .map((example) =>
      example
        .replaceAll('.', '\\.')
        .replaceAll(/\b0+/g, (zeros) => `\\d{${zeros.length},}`)
        .replaceAll(/\bany\b/g, namePattern.source.slice(1, -1)),
    )
    .join('|')})$`,
);

/** True for paths this file gives to artefacts: what is checked by manifests. */
export function isArtefactPath(file: string): boolean {
  return artefactPattern.test(file);
}
