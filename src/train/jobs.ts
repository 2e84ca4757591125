/** From-scratch training jobs: subset models, originals, oracles. */
import { mostModels, type TrainJob, type TrainRecipe } from '../types.js';

export type ModelGroup =
  | { kind: 'subset' }
  | { kind: 'original' }
  | { kind: 'oracle'; forgetSetIndex: number; role: 'scored' | 'matched' }
  /** On masks of subset models, with other random numbers. */
  | { kind: 'repeat' };

/** Beyond the blocks of any number of forget sets. */
const repeatBlock = 2 ** 20;

/** Groups of models draw from disjoint random streams: a model's key is its group's block plus its index in the group. */
export function modelKey(group: ModelGroup, index: number): number {
  return blockOf(group) * mostModels + index;
}

function blockOf(group: ModelGroup): number {
  switch (group.kind) {
    case 'subset':
      return 0;
    case 'original':
      return 1;
    case 'oracle':
      return 2 + 2 * group.forgetSetIndex + (group.role === 'matched' ? 1 : 0);
    case 'repeat':
      return repeatBlock;
  }
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
