/** Masks and forget sets of a plan as tasks. */
import type { Stage } from '../jobs/task.js';
import { readDatamodels } from '../store/contents/datamodels.js';
import { layout } from '../store/folders/layout.js';
import { encodeMasks } from '../store/contents/masksFile.js';
import { encodeIndices } from '../store/contents/npyArtefact.js';
import { forgetSetInputs } from '../jobs/planInputs.js';
import type { Plan } from '../types.js';
import { resolveForgetSet } from './forgetSets.js';
import { generateMasks, maskRowBytes, requireSubset } from './masks.js';

/** One bit-packed mask a subset model. @throws LETHE_MASKS_INVALID at once, before anything is trained */
export function maskStage(plan: Plan, numTrain: number): Stage {
  const { count: numModels, subsetFraction } = plan.subsetModels;
  if (numModels > 0) requireSubset({ numModels, numTrain, subsetFraction });
  const task = {
    id: layout.masks,
    label: 'masks',
    artefacts: [layout.masks],
    cost: 0,
    models: 0,
    bytes: numModels * maskRowBytes(numTrain),
    inputs: { masks: { numModels, subsetFraction, seed: plan.seed } },
    produce: () => {
      const masks =
        numModels === 0
          ? { numModels, numTrain, bits: new Uint8Array(0) }
          : generateMasks({ numModels, numTrain, subsetFraction, seed: plan.seed });
      return Promise.resolve([{ path: layout.masks, content: encodeMasks(masks), rows: numModels }]);
    },
  };
  return { name: 'masks', tasks: [task] };
}

/** Resolves every forget set to train indices; principal components need the margin datamodels. */
export function forgetSetStage(plan: Plan, numTrain: number): Stage {
  return {
    name: 'forget sets',
    tasks: plan.forgetSets.map((spec, index) => ({
      id: layout.forgetSet(spec.name),
      label: `forget set ${spec.name}`,
      artefacts: [layout.forgetSet(spec.name)],
      cost: 0,
      models: 0,
      bytes: 8 * forgetSetSize(spec),
      inputs: { forgetSet: forgetSetInputs(plan, index) },
      async produce({ run, planFolder }) {
        const datamodels = spec.kind === 'principalComponent' ? readDatamodels(await run.read(layout.marginDatamodels)) : undefined;
        const { indices } = await resolveForgetSet(spec, { numTrain, planFolder, ...(datamodels ? { datamodels } : {}) });
        return [{ path: layout.forgetSet(spec.name), content: encodeIndices(indices), rows: indices.length }];
      },
    })),
  };
}

/** Known before the set is resolved, except for index files, where it is only an estimate for costs. */
export function forgetSetSize(spec: Plan['forgetSets'][number]): number {
  switch (spec.kind) {
    case 'random':
      return spec.size;
    case 'principalComponent':
      return spec.top + spec.bottom;
    case 'file':
      return 100;
  }
}
