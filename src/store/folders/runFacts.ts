/** facts.json: what a run's data set and engine were, so that verbs that only read a run folder need neither. */
import { damaged } from '../disk/files.js';
import { decodeJson, encodeJson } from '../disk/json.js';
import { layout } from './layout.js';
import type { RunFolder } from './run.js';
import type { DatasetFacts } from '../../types.js';

export interface RunFacts {
  dataset: DatasetFacts;
  /** Engine.describe() without what may differ between sessions. */
  engine: Record<string, string | number>;
  /** Of one model. */
  numParameters: number;
}

const version = 1;
const datasetKeys = [
  'name',
  'description',
  'height',
  'width',
  'channels',
  'numClasses',
  'classNames',
  'numTrain',
  'numValidation',
  'labels',
  'mean',
  'std',
  'sha256',
] as const satisfies readonly (keyof DatasetFacts)[];

/** Writes the facts of a run that has none; they never change, as the run's identity does not. */
export async function settleFacts(run: RunFolder, { dataset, engine, numParameters }: RunFacts): Promise<void> {
  if (await run.isDone(layout.facts)) return;
  const lasting = Object.fromEntries(Object.entries(engine).filter(([name]) => name !== 'threads'));
  const kept = Object.fromEntries(datasetKeys.map((key) => [key, dataset[key]]));
  await run.publish([{ path: layout.facts, content: encodeJson({ version, dataset: kept, engine: lasting, numParameters }) }]);
}

/** Undefined in runs of earlier versions. @throws LETHE_FACTS_VERSION (exit code 3) for facts of a later one */
export async function readFacts(run: RunFolder): Promise<RunFacts | undefined> {
  if (!(await run.isDone(layout.facts))) return undefined;
  const facts = decodeJson(await run.read(layout.facts), layout.facts) as RunFacts & { version: number };
  if (facts.version !== version) {
    const received = `version ${facts.version}`;
    throw damaged(
      'LETHE_FACTS_VERSION',
      `${layout.facts} of ${run.root}`,
      `version ${version}`,
      received,
      'Use the version of Lethe that made it.',
    );
  }
  return { ...facts, dataset: { ...facts.dataset, labels: Int32Array.from(facts.dataset.labels) } };
}
