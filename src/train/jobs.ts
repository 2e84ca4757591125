/** From-scratch training jobs: subset models, originals, oracles. */
import { mostModels, type TrainJob, type TrainRecipe } from '../types.js';

export type ModelGroup = { kind: 'subset' } | { kind: 'original' } | { kind: 'oracle'; forgetSetIndex: number; role: 'scored' | 'matched' };

/** Groups of models draw from disjoint random streams: a model's key is its group's block plus its index in the group. */
export function modelKey(group: ModelGroup, index: number): number {
  const block =
    group.kind === 'subset' ? 0 : group.kind === 'original' ? 1 : 2 + 2 * group.forgetSetIndex + (group.role === 'matched' ? 1 : 0);
  return block * mostModels + index;
}

/** Trains on `indices` with the plan's recipe: cross-entropy, BatchNorm in train mode, augmentation if the recipe has one. */
export function trainingJob(recipe: TrainRecipe, seed: number, key: number, indices: Int32Array): TrainJob {
  return {
    modelIndex: key,
    seed,
    epochs: recipe.epochs,
    optimizer: recipe.optimizer,
    schedule: recipe.schedule,
    passes: [
      {
        batchNorm: 'train',
        ...(recipe.augment ? { augment: recipe.augment } : {}),
        terms: [{ indices, objective: { crossEntropy: 1, labelSmoothing: recipe.labelSmoothing }, weight: 1, batchSize: recipe.batchSize }],
      },
    ],
  };
}
