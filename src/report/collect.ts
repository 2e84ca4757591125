/** Gathers what the report shows from the scores of a run folder. */
import { attributorsOf, canBeFitted, curveOf, type PlannedAttributor } from '../attributors/planned.js';
import { decodeJson } from '../store/disk/json.js';
import { layout } from '../store/folders/layout.js';
import { leastTuningModels, tunesOnFew } from '../jobs/planCounts.js';
import type { RunFolder } from '../store/folders/run.js';
import {
  type DatasetFacts,
  type DivergedModels,
  type Engine,
  type ForgetSetScores,
  type LdsScores,
  type Plan,
  type ReportData,
  type UnbiasedScores,
} from '../types.js';
import { fixed, listed } from './format.js';
import { criteria } from './notes.js';

/** Read-only: everything comes from published artefacts, so that the report of a finished run can be made anew at any time. */
export async function collectReport(
  run: RunFolder,
  plan: Plan,
  dataset: DatasetFacts,
  engine: Pick<Engine, 'describe'>,
): Promise<ReportData> {
  const sets: ForgetSetScores[] = [];
  for (const { name } of plan.forgetSets) {
    sets.push(decodeJson(await run.read(layout.scores(name)), layout.scores(name)) as ForgetSetScores);
  }
  const unbiased: UnbiasedScores[] = [];
  for (const { name } of plan.forgetSets) {
    const place = layout.unbiasedScores(name);
    // runs of earlier versions have none
    if (await run.isDone(place)) unbiased.push(decodeJson(await run.read(place), place) as UnbiasedScores);
  }
  const { lds, ceilings, diverged = [] } = decodeJson(await run.read(layout.ldsScores), layout.ldsScores) as LdsScores;
  const lost = [...diverged, ...sets.flatMap((set) => set.diverged ?? [])];
  const groups = [...new Map(lost.map((models) => [models.group, models])).values()]; // originals are of every forget set
  return {
    version: 2,
    runName: plan.name,
    dataDescription: dataset.description,
    facts: [
      ...runFacts(plan, dataset, engine),
      ...(await scaleFacts(run, plan)),
      ...groups.map((models) => ({ name: 'diverged', value: describeDiverged(models) })),
    ],
    forgetSets: sets.map(({ forgetSet, size }) => ({ name: forgetSet, size })),
    scores: sets.flatMap(({ scores }) => scores),
    floors: sets.map(({ floor }) => floor),
    unbiased,
    choices: sets.map(({ forgetSet, choices = [] }) => ({ forgetSet, choices })),
    attributors: attributorsOf(plan)
      .filter((planned) => canBeFitted(plan, planned))
      .map((planned) => {
        const { count } = plan.subsetModels;
        const { name, models = count } = planned;
        return { name, curve: curveOf(plan, planned).name, models, isAll: models === count };
      }),
    lds,
    ...(ceilings ? { ldsCeilings: ceilings } : {}),
    marginSamples: sets.flatMap(({ marginSamples }) => marginSamples),
    originalAccuracy: sets.map(({ forgetSet, originalAccuracy }) => ({ forgetSet, accuracy: originalAccuracy })),
    ...(groups.length > 0 ? { diverged: groups } : {}),
  };
}

/** Scales that methods were given by the calibration. */
async function scaleFacts(run: RunFolder, plan: Plan): Promise<{ name: string; value: string }[]> {
  const facts = [];
  const calibrated = plan.calibration ? attributorsOf(plan).filter((planned) => canBeFitted(plan, planned)) : [];
  for (const { name, folder } of calibrated) {
    const scales = decodeJson(await run.read(layout.calibration(folder)), layout.calibration(folder)) as { full: number; diagonal: number };
    const text = `${fixed(scales.full, 2)} (diagonal only ${fixed(scales.diagonal, 2)}), least squares on the matched oracles of ${plan.calibration!.forgetSet}`;
    facts.push({ name: `scale, ${name}`, value: `${text}, whose own scores it flatters` });
  }
  return facts;
}

const mostNamed = 20;

/** "3 of 40 subset models diverged and are left out: 5, 17 and 22" */
export function describeDiverged({ group, count, models }: DivergedModels): string {
  const more = models.length > mostNamed ? [`${models.length - mostNamed} more`] : [];
  return `${models.length} of ${count} ${group} diverged and are left out: ${listed([...models.slice(0, mostNamed).map(String), ...more])}`;
}

/** Of an engine that runs on ONNX Runtime: its version and device. */
function runtimeOf({ onnxruntime, device }: Record<string, string | number>): string {
  return onnxruntime === undefined ? '' : `, ONNX Runtime ${onnxruntime} on ${device}`;
}

/** The first one is what methods use unless they name another. */
function attributorFact({ name, folder, attributor, options, models }: PlannedAttributor): { name: string; value: string } {
  const on = models === undefined ? '' : `, on the first ${models} subset models`;
  return { name: folder === undefined ? 'datamodels' : `datamodels, ${name}`, value: attributor.describe(options) + on };
}

function tuningFact(plan: Plan): string {
  const { numModels, criterion } = plan.tuning;
  if (numModels === 0) return 'none: every setting runs on all scored originals and is chosen against matched oracles';
  const few = tunesOnFew(plan) ? `; fewer than ${leastTuningModels} rank settings by noise` : '';
  return `grids with several settings on ${numModels} originals that are not scored, against matched oracles (divergence of margins, ${criteria[criterion]})${few}`;
}

/** Facts that are the same on every machine that can produce the same bytes; times and hosts are in provenance.json. */
function runFacts(plan: Plan, dataset: DatasetFacts, engine: Pick<Engine, 'describe'>): { name: string; value: string }[] {
  const { recipe } = plan;
  const described = engine.describe();
  return [
    { name: 'data', value: dataset.description },
    { name: 'points', value: `${dataset.numTrain} train, ${dataset.numValidation} validation, ${dataset.numClasses} classes` },
    { name: 'network', value: 'file' in plan.net ? plan.net.file : `${plan.net.name}, width 1/${plan.net.width}` },
    {
      name: 'recipe',
      value:
        `${recipe.epochs} epochs, batch ${recipe.batchSize}, ${recipe.optimizer.kind}, ` +
        `${recipe.schedule.kind} learning rate ${recipe.schedule.learningRate}, weight decay ${recipe.optimizer.weightDecay}`,
    },
    {
      name: 'models',
      value:
        `${plan.subsetModels.count} subset models (fraction ${plan.subsetModels.subsetFraction}), ${plan.originals.count} originals, ` +
        `${plan.oracles.scored} scored and ${plan.oracles.matched} matched oracles a forget set`,
    },
    ...attributorsOf(plan).map(attributorFact),
    { name: 'tuning', value: tuningFact(plan) },
    { name: 'KLOM', value: `variant ${plan.klom.variant}, ${plan.klom.bins} bins, clip ${plan.klom.clip}, epsilon ${plan.klom.epsilon}` },
    { name: 'engine', value: `${described['engine']}, ${described['precision']}, ${described['isa']}${runtimeOf(described)}` },
    { name: 'seed', value: String(plan.seed) },
  ];
}
