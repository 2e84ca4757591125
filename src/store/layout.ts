/** The only file that knows where things lie in a run folder. All paths are relative to it, with forward slashes. */
import { LetheError } from '../errors.js';

/** Names of runs, forget sets, outputs: safe as file names everywhere and never seen by a shell. */
const namePattern = /^[a-z0-9][a-z0-9._-]{0,63}$/;

export function isName(text: string): boolean {
  return namePattern.test(text);
}

/** @throws LETHE_NAME_INVALID (exit code 2) */
export function requireName(text: string, what: string): string {
  if (isName(text)) return text;
  throw new LetheError('LETHE_NAME_INVALID', `the ${what} is no name`, {
    expected: 'lower-case letters, digits, ".", "_" and "-", beginning with a letter or digit, at most 64',
    received: JSON.stringify(text.slice(0, 80)),
  });
}

/** Shards lie in folders of a thousand: 17 -> "00/shard-00017.arrow". */
function shardFile(shard: number): string {
  return `shard-${String(shard).padStart(5, '0')}.arrow`;
}

function forgetSetName(name: string): string {
  return requireName(name, 'forget set');
}

export const layout = {
  plan: 'plan.json',
  identity: 'identity.json',
  provenance: 'provenance.json',
  failed: 'failed.jsonl',
  masks: 'masks.arrow',
  ldsScores: 'scores/lds.json',
  subsetOutputs: (shard: number): string => `outputs/${String(Math.floor(shard / 1000)).padStart(2, '0')}/${shardFile(shard)}`,
  originals: (shard: number): string => `originals/${shardFile(shard)}`,
  oracles: (forgetSet: string, role: 'scored' | 'matched', shard: number): string =>
    `oracles/${forgetSetName(forgetSet)}/${role}/${shardFile(shard)}`,
  datamodels: (output: string): string => `datamodels/${requireName(output, 'output')}.arrow`,
  forgetSet: (name: string): string => `forget-sets/${forgetSetName(name)}.npy`,
  tuning: (forgetSet: string, method: string): string =>
    `unlearned/${forgetSetName(forgetSet)}/${requireName(method, 'method')}/tuning.json`,
  unlearned: (forgetSet: string, method: string, shard: number): string =>
    `unlearned/${forgetSetName(forgetSet)}/${requireName(method, 'method')}/${shardFile(shard)}`,
  scores: (forgetSet: string): string => `scores/${forgetSetName(forgetSet)}.json`,
  report: (file: string): string => `report/${requireName(file, 'report file')}`,
} as const;

/** Forget sets cannot have these names: their scores would share a file with something else. */
export const reservedForgetSetNames: readonly string[] = ['lds'];

const manifestFolder = 'manifest/';

/** Where the manifest of an artefact lies. */
export function manifestPath(artefact: string): string {
  return `${manifestFolder}${artefact}.json`;
}

/** The artefact a manifest file belongs to; undefined for paths that are no manifests. */
export function manifestedArtefact(file: string): string | undefined {
  return file.startsWith(manifestFolder) && file.endsWith('.json') ? file.slice(manifestFolder.length, -'.json'.length) : undefined;
}

const shardPattern = 'shard-\\d{5,}\\.arrow';
const segment = '[a-z0-9][a-z0-9._-]{0,63}';
const artefactPattern = new RegExp(
  `^(${[
    'plan\\.json',
    'identity\\.json',
    'masks\\.arrow',
    `outputs/\\d{2,}/${shardPattern}`,
    `originals/${shardPattern}`,
    `oracles/${segment}/(scored|matched)/${shardPattern}`,
    `datamodels/${segment}\\.arrow`,
    `forget-sets/${segment}\\.npy`,
    `unlearned/${segment}/${segment}/(tuning\\.json|${shardPattern})`,
    `scores/${segment}\\.json`,
    `report/${segment}`,
  ].join('|')})$`,
);

/** True for paths this file gives to artefacts: what is checked by manifests. */
export function isArtefactPath(file: string): boolean {
  return artefactPattern.test(file);
}
