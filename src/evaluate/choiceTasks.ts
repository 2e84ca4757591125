/** The choice of tuned settings of a plan as tasks. */
import { firstTuningOriginal } from '../jobs/planCounts.js';
import type { Stage, Task, TaskContext } from '../jobs/task.js';
import { readOutputs } from '../store/contents/outputs.js';
import { encodeJson } from '../store/disk/json.js';
import { layout } from '../store/folders/layout.js';
import type { Plan, SettingChoice } from '../types.js';
import { choose, judge, type JudgedCandidate, type ScoredMethod, snapshotEpochs, unmatchedOracles } from './choice.js';
import { divergedModels, groupOutputs, numPointsOf, oracleOutputs, outputsAt, pointSplits, smallTask } from './outputs.js';

/** Picks the setting of a tuned grid, on originals that are not scored and against matched oracles only: scored oracles stay unseen. */
export function choiceStage(plan: Plan, methods: ScoredMethod[]): Stage {
  const tasks = plan.forgetSets.flatMap(({ name }) =>
    methods
      .filter((method) => method.tuned)
      .map((method): Task => {
        const artefact = layout.tuningChoice(name, method.method);
        return {
          ...smallTask(artefact, `choice of ${method.method} for ${name}`),
          async produce(context) {
            return [{ path: artefact, content: encodeJson(await tunedChoice(context, name, method)) }];
          },
        };
      }),
  );
  return { name: 'tuning choices', tasks };
}

async function tunedChoice(context: TaskContext, forgetSet: string, method: ScoredMethod): Promise<SettingChoice> {
  const { plan } = context;
  const { numModels } = plan.tuning;
  const splits = await pointSplits(context, forgetSet);
  const nothing = await groupOutputs(context, { path: layout.tuningOriginals, count: numModels, epoch: plan.recipe.epochs });
  const matched = await oracleOutputs(context, forgetSet, 'matched');
  const oracles = method.trainsOnOracles
    ? unmatchedOracles(matched, { first: firstTuningOriginal, end: firstTuningOriginal + numModels }, numPointsOf(context))
    : matched;
  const comparison = { context, splits, oracles, nothing, lost: nothing.diverged };
  const candidates: JudgedCandidate[] = [];
  for (let run = 0; run < method.runs.length; run++) {
    const outputs = readOutputs(await context.run.read(layout.tuningRun(forgetSet, method.method, run)));
    const settings = method.snapshotSettings(run);
    for (const [snapshot, epoch] of snapshotEpochs(method.runs[run]!.evalEpochs).entries()) {
      candidates.push({ run, ...(await judge(comparison, method, settings[snapshot]!, outputsAt(outputs, epoch))) });
    }
  }
  return choose(comparison, method, candidates, {
    models: 'tuning-originals',
    numModels: nothing.models.length,
    ...divergedModels([{ group: 'tuning originals', count: numModels, models: nothing.diverged }]),
  });
}
