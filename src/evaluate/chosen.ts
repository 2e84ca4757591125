/** Which setting of a method's grid a run stands by. */
import { decodeJson, formatJson } from '../store/disk/json.js';
import { layout } from '../store/folders/layout.js';
import type { RunFolder } from '../store/folders/run.js';
import type { ForgetSetScores, MethodName, MethodSetting, SettingChoice } from '../types.js';

/** What made the choice: the scores (the setting in the run's tables), tuning where nothing is scored yet, or the plan, which names one. */
export type ChosenBy = 'scores' | 'tuning' | 'plan';

export interface ChosenSetting {
  /** Complete. */
  setting: MethodSetting;
  by: ChosenBy;
}

/**
 * `settings`: all that the plan tries, one per snapshot; none when the plan does not have the method. Undefined when nothing has been chosen.
 * @throws LETHE_ARTEFACT_DAMAGED (exit code 3)
 */
export async function chosenSetting(
  run: Pick<RunFolder, 'isDone' | 'read'>,
  forgetSet: string,
  method: MethodName,
  settings: readonly MethodSetting[],
): Promise<ChosenSetting | undefined> {
  const scored = await readDone<ForgetSetScores>(run, layout.scores(forgetSet));
  const best = asPublished(scored?.scores.filter((row) => row.method === method && row.best));
  if (best) return { setting: best.setting, by: 'scores' };
  if (settings.length === 1) return { setting: settings[0]!, by: 'plan' };
  const tuned = scored ? undefined : await readDone<SettingChoice>(run, layout.tuningChoice(forgetSet, method));
  const chosen = asPublished(tuned?.settings.filter((row) => row.chosen));
  return chosen && { setting: chosen.setting, by: 'tuning' };
}

/** Of what stands for a method and its variants: a variant only where there is nothing else. */
function asPublished<Row extends { variant?: string }>(rows: readonly Row[] = []): Row | undefined {
  return rows.find(({ variant }) => variant === undefined) ?? rows[0];
}

/** Whatever the order of their keys. */
export function sameSetting(a: MethodSetting, b: MethodSetting): boolean {
  return formatJson(a) === formatJson(b);
}

async function readDone<T>(run: Pick<RunFolder, 'isDone' | 'read'>, artefact: string): Promise<T | undefined> {
  return (await run.isDone(artefact)) ? (decodeJson(await run.read(artefact), artefact) as T) : undefined;
}
