/** The models of a run that are exported as NumPy files, group by group: one row a model. */
import { chosenSetting, sameSetting } from '../evaluate/chosen.js';
import { decodeJson } from '../store/disk/json.js';
import { layout } from '../store/folders/layout.js';
import { comparedModels } from '../jobs/planCounts.js';
import { shardRanges } from '../jobs/shards.js';
import type { MethodSetting, SettingChoice } from '../types.js';
import { snapshotSettings } from '../unlearn/index.js';
import { type MethodRuns, methodRuns, partialLengths } from '../unlearn/tasks.js';
import type { RunView } from './session.js';

export interface ModelGroup {
  /** Where it goes. */
  folder: string;
  shards: string[];
  /** Rows of this snapshot only; absent where models were looked at once. */
  epoch?: number;
  /** Of unlearned models. */
  setting?: MethodSetting;
}

interface Wanted {
  parts: readonly string[];
  allSettings: boolean;
}

/** Every group of the wanted parts; of unlearned models those that the run has made. `unchosen`: methods of which nothing is chosen yet. */
export async function modelGroups(view: RunView, { parts, allSettings }: Wanted): Promise<{ groups: ModelGroup[]; unchosen: string[] }> {
  const { plan } = view;
  const shardsOf = shardsBy(view);
  const groups: ModelGroup[] = [];
  const unchosen: string[] = [];
  if (parts.includes('outputs')) groups.push({ folder: 'outputs', shards: shardsOf(plan.subsetModels.count, layout.subsetOutputs) });
  if (parts.includes('originals')) groups.push({ folder: 'originals', shards: shardsOf(plan.originals.count, layout.originals) });
  for (const { name } of plan.forgetSets) {
    for (const group of parts.includes('oracles') ? oracleGroups(view, name, allSettings) : []) groups.push(group);
    for (const runs of parts.includes('unlearned') ? methodRuns(plan) : []) {
      const { chosen, rest } = await unlearnedGroups(view, name, runs);
      if (chosen) groups.push(chosen);
      else if (rest.length > 0) unchosen.push(`${name}: ${runs.method.name}`);
      for (const group of allSettings ? rest : []) groups.push(group);
    }
  }
  return { groups: groups.filter(({ shards }) => shards.length > 0), unchosen };
}

function shardsBy({ plan }: RunView): (models: number, place: (shard: number) => string) => string[] {
  return (models, place) => shardRanges(models, plan.subsetModels.modelsPerShard).map(({ shard }) => place(shard));
}

/** Fully retrained ones; for partial retraining matched oracles were also looked at on their way, and others trained with compressed recipes. */
function oracleGroups(view: RunView, forgetSet: string, allSettings: boolean): ModelGroup[] {
  const { plan } = view;
  const group = (role: 'scored' | 'matched', epoch: number): ModelGroup => ({
    folder: `oracles-${forgetSet}-${role}${epoch === plan.recipe.epochs ? '' : `-epochs-${epoch}`}`,
    shards: shardsBy(view)(plan.oracles[role], (shard) => layout.oracles(forgetSet, role, shard)),
    epoch,
  });
  const compressed = (epoch: number): ModelGroup => ({
    folder: `oracles-${forgetSet}-compressed-epochs-${epoch}`,
    shards: shardsBy(view)(comparedModels(plan), (shard) => layout.compressed(forgetSet, epoch, shard)),
    epoch,
  });
  const { cut, own } = partialLengths(plan);
  const shorter = [...cut.map((epoch) => group('matched', epoch)), ...own.map(({ epochs }) => compressed(epochs))];
  return [group('scored', plan.recipe.epochs), group('matched', plan.recipe.epochs), ...(allSettings ? shorter : [])];
}

/** A tuned grid has one run on all originals, another grid a run for each setting; each run has its snapshots. */
async function unlearnedGroups(
  view: RunView,
  forgetSet: string,
  { method, runs, tuned }: MethodRuns,
): Promise<{ chosen?: ModelGroup; rest: ModelGroup[] }> {
  const { run, plan } = view;
  const prefix = `unlearned-${forgetSet}-${method.name}`;
  const made: ModelGroup[] = [];
  for (const [index, entry] of runs.entries()) {
    const which = tuned ? 'chosen' : index;
    if (method.kind === 'reference' || !(await run.isDone(layout.unlearned(forgetSet, method.name, which, 0)))) continue;
    if (tuned && index !== (await tunedRun(view, forgetSet, method.name))) continue;
    const shards = shardsBy(view)(plan.originals.count, (shard) => layout.unlearned(forgetSet, method.name, which, shard));
    // methods without epochs store their one result as epoch 0
    const epochs = entry.evalEpochs.length > 0 ? entry.evalEpochs : [0];
    snapshotSettings(entry).forEach((setting, snapshot) => {
      const epoch = epochs[snapshot]!;
      made.push({ folder: `${prefix}-run-${index}${epoch > 0 ? `-epochs-${epoch}` : ''}`, shards, epoch, setting });
    });
  }
  const settings = runs.flatMap(snapshotSettings);
  const choice = made.length === 0 ? undefined : await chosenSetting(run, forgetSet, method.name, settings);
  const chosen = choice && made.find(({ setting }) => sameSetting(setting!, choice.setting));
  const rest = made.filter((group) => group !== chosen);
  return chosen ? { chosen: { ...chosen, folder: `${prefix}-chosen` }, rest } : { rest };
}

async function tunedRun({ run }: RunView, forgetSet: string, method: string): Promise<number> {
  const choice = layout.tuningChoice(forgetSet, method);
  return (decodeJson(await run.read(choice), choice) as SettingChoice).run;
}
