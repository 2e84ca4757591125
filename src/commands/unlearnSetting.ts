/** The setting of `lethe unlearn`: the run's choice, or a preset, changed by --set. */
import { type ChosenBy, chosenSetting } from '../evaluate/chosen.js';
import { didYouMean, LetheError } from '../errors.js';
import type { TaskContext } from '../jobs/task.js';
import type { MethodSetting } from '../types.js';
import { checkSetting, snapshotSettings, type UnlearnMethod } from '../unlearn/index.js';
import { methodRuns } from '../unlearn/tasks.js';

/** Of every method; where it names no setting of its own, its parameters' defaults. */
const publishedPreset = 'published';

/** Where a setting comes from, before --set changes it. */
export type SettingSource = { kind: 'run'; forgetSet: string; by: ChosenBy } | { kind: 'preset'; name: string };

export interface ResolvedSetting {
  /** Complete. */
  setting: MethodSetting;
  source: SettingSource;
  /** Names that --set gave. */
  changed: string[];
}

/**
 * Without a preset the setting that the run chose for the forget set; for a set that is not the run's, the choice for the first set that
 * has one; where the run has not chosen, the published setting.
 * @throws LETHE_PRESET_UNKNOWN, LETHE_SETTING_UNKNOWN, LETHE_SETTING_INVALID, LETHE_SETTING_UNUSED
 */
export async function resolveSetting(
  context: Pick<TaskContext, 'run' | 'plan'>,
  method: UnlearnMethod,
  { forgetSet, preset, set = {} }: { forgetSet: string; preset?: string; set?: MethodSetting },
): Promise<ResolvedSetting> {
  const changed = Object.keys(set);
  const chosen = preset === undefined ? await choiceOf(context, method, forgetSet) : undefined;
  if (chosen) return { setting: checkSetting(method, set, chosen.setting), source: chosen.source, changed };
  const name = preset ?? publishedPreset;
  return { setting: checkSetting(method, { ...presetOf(method, name), ...set }), source: { kind: 'preset', name }, changed };
}

/** For people; undefined where there is nothing to set. */
export function describeSetting({ label }: UnlearnMethod, { setting, source, changed }: ResolvedSetting): string | undefined {
  const entries = Object.entries(setting);
  if (entries.length === 0) return undefined;
  const reasons: Record<ChosenBy, string> = { scores: 'the one of its table', tuning: 'by tuning', plan: 'the only one of the plan' };
  const origin = source.kind === 'run' ? `the run's choice for ${source.forgetSet}, ${reasons[source.by]}` : `the ${source.name} setting`;
  const given = changed.length > 0 ? `, with ${changed.join(', ')} as given` : '';
  return `${label}: ${origin}${given}: ${entries.map(([name, value]) => `${name} ${value}`).join(', ')}`;
}

async function choiceOf(
  { run, plan }: Pick<TaskContext, 'run' | 'plan'>,
  method: UnlearnMethod,
  wanted: string,
): Promise<{ setting: MethodSetting; source: SettingSource } | undefined> {
  const settings = methodRuns(plan)
    .filter((entry) => entry.method.name === method.name)
    .flatMap(({ runs }) => runs.flatMap(snapshotSettings));
  const names = plan.forgetSets.map(({ name }) => name);
  for (const forgetSet of names.includes(wanted) ? [wanted] : names) {
    const chosen = await chosenSetting(run, forgetSet, method.name, settings);
    if (chosen) return { setting: chosen.setting, source: { kind: 'run', forgetSet, by: chosen.by } };
  }
  return undefined;
}

function presetOf(method: UnlearnMethod, name: string): MethodSetting {
  const presets: UnlearnMethod['presets'] = { [publishedPreset]: {}, ...method.presets };
  const preset = Object.hasOwn(presets, name) ? presets[name] : undefined;
  if (preset) return preset;
  throw new LetheError('LETHE_PRESET_UNKNOWN', `${method.name} has no preset "${name}"`, {
    action: didYouMean(name, Object.keys(presets)),
  });
}
