/**
 * What a plan file may say, value by value; rules between values are in plan.ts. Every leaf has a message that completes
 * "expected ...", every object refuses keys it does not know.
 */
import { z } from 'zod';
import type { AttributorOption } from '../attributors/attributor.js';
import { attributors, defaultAttributor } from '../attributors/registry.js';
import { type FitOptions, klomVariants, mostModels, tuningCriteria } from '../types.js';
import { methodNames } from '../unlearn/registry.js';
import { isName } from '../store/folders/layout.js';
import { firstTuningOriginal } from './planCounts.js';
import { planDefaults as defaults } from './planDefaults.js';

type Check = (value: number) => boolean;

function number(expected: string, check: Check): z.ZodType<number> {
  return z.custom<number>((value) => typeof value === 'number' && Number.isFinite(value) && check(value), { error: expected });
}

function whole(minimum: number): z.ZodType<number> {
  return number(`a whole number from ${minimum} on`, (value) => Number.isSafeInteger(value) && value >= minimum);
}

function models(minimum: number, most = mostModels): z.ZodType<number> {
  const expected = `a whole number from ${minimum} to ${most}`;
  return number(expected, (value) => Number.isSafeInteger(value) && value >= minimum && value <= most);
}

const fraction = number('a fraction between 0 and 1, both excluded', (value) => value > 0 && value < 1);
const belowOne = number('a number from 0 up to but not including 1', (value) => value >= 0 && value < 1);
const positive = number('a number above 0', (value) => value > 0);
const notNegative = number('a number from 0 on', (value) => value >= 0);
const truth = z.custom<boolean>((value) => typeof value === 'boolean', { error: 'true or false' });
const name = z.custom<string>((value) => typeof value === 'string' && isName(value), {
  error: 'a name of lower-case letters, digits, ".", "_" and "-", beginning with a letter or digit, at most 64',
});
function filePath(kind: string): z.ZodType<string> {
  return z.custom<string>((value) => typeof value === 'string' && value !== '' && !/\p{Cc}/u.test(value), { error: `the path of ${kind}` });
}
const digest = z.custom<string>((value) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value), { error: 'a sha256 in hex' });

/** Its error for unknown keys is the list of the known ones, which the report of the mistake turns into a proposal. */
function closed<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.strictObject(shape, { error: (issue) => (issue.code === 'unrecognized_keys' ? Object.keys(shape).join(' ') : undefined) });
}

const optimizer = z.discriminatedUnion('kind', [
  closed({
    kind: z.literal('sgd'),
    momentum: belowOne.default(defaults.optimizer.sgd.momentum).describe('of SGD, without dampening or Nesterov'),
    weightDecay: notNegative.default(defaults.optimizer.sgd.weightDecay).describe('added to the gradient of every parameter'),
  }),
  closed({
    kind: z.literal('adam'),
    beta1: belowOne.default(defaults.optimizer.adam.beta1),
    beta2: belowOne.default(defaults.optimizer.adam.beta2),
    epsilon: positive.default(defaults.optimizer.adam.epsilon),
    weightDecay: notNegative.default(defaults.optimizer.adam.weightDecay).describe('added to the gradient of every parameter'),
  }),
]);

const schedule = z.discriminatedUnion('kind', [
  closed({ kind: z.literal('constant'), learningRate: positive.describe('of every step') }),
  closed({
    kind: z.literal('triangle'),
    learningRate: positive.describe('at the peak; linear from 0 and back to 0'),
    peakEpoch: notNegative.optional().describe('5/24 of the epochs where it is absent'),
  }),
  closed({
    kind: z.literal('cosine'),
    learningRate: positive.describe('at the peak; linear up to it, half a cosine down'),
    peakEpoch: notNegative.optional().describe('5/24 of the epochs where it is absent'),
  }),
  closed({
    kind: z.literal('exponential'),
    learningRate: positive.describe('of the first epoch'),
    factor: positive.describe('from epoch to epoch'),
  }),
  closed({
    kind: z.literal('steps'),
    learningRate: positive.describe('of the first epochs'),
    factor: positive.describe('at each of atEpochs'),
    atEpochs: z.array(whole(1)).describe('ascending, below epochs'),
  }),
]);

const forgetSet = z.discriminatedUnion('kind', [
  closed({
    name: name.describe('unique; that of its folders'),
    kind: z.literal('random'),
    size: whole(1).describe('train examples, drawn without replacement'),
    seed: whole(0).optional().describe('that of the plan where it is absent'),
  }),
  closed({
    name,
    kind: z.literal('file'),
    path: filePath('a .npy file').describe('train indices, integers; counts from the folder of the plan'),
  }),
  closed({
    name,
    kind: z.literal('principalComponent'),
    component: whole(1).describe('of the train-train datamodel matrix of the first attributor'),
    top: whole(0).default(0).describe('examples with the largest coordinates'),
    bottom: whole(0).default(0).describe('examples with the smallest'),
  }),
]);

const gridValue = z.custom<number | string | boolean>(
  (value) => (typeof value === 'number' && Number.isFinite(value)) || typeof value === 'string' || typeof value === 'boolean',
  { error: 'a number, a word, true or false' },
);
const parameterName = z.string().regex(/^[a-z][A-Za-z0-9]{0,63}$/, { error: 'a hyper-parameter, e.g. learningRate' });
const grid = z.union([z.literal('paper'), z.record(parameterName, z.array(gridValue))], {
  error: '"paper" or lists of values by hyper-parameter',
});

/** How a network is trained: in plans and on the command line. */
export const recipeSchema = closed({
  epochs: whole(1).default(defaults.recipe.epochs).describe('passes over the train examples'),
  batchSize: whole(1).default(defaults.recipe.batchSize).describe('examples of a step; the last batch of an epoch may be smaller'),
  optimizer: optimizer.default(defaults.optimizer.sgd),
  schedule: schedule.default({ kind: defaults.schedule.kind, learningRate: defaults.schedule.learningRate }),
  labelSmoothing: belowOne.default(defaults.recipe.labelSmoothing).describe('share of the target that is spread over all classes'),
  augment: closed({
    cropPadding: whole(0).default(0).describe("pixels of border from which a crop of the image's size is cut, at random"),
    flip: truth.default(false).describe('left and right, every other time'),
  }).optional(),
});

/** Options of the attributor that `estimator` names (among several an entry that gives only a name is that attributor). */
function attributor(more: z.ZodRawShape): z.ZodType<Partial<FitOptions> & { estimator: string; name?: string; models?: number }> {
  const forms = attributors.map(({ name: estimator, options }) => {
    const values = Object.entries(options).map(([option, declared]) => [option, optionValue(declared).optional()]);
    return closed({ estimator: z.literal(estimator), ...more, ...(Object.fromEntries(values) as z.ZodRawShape) });
  });
  const named = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || 'estimator' in value) return value;
    const { name: given } = value as { name?: unknown };
    const estimator = 'name' in more && given !== undefined ? given : defaultAttributor.name;
    return { estimator, ...value };
  };
  const form = z.discriminatedUnion('estimator', forms as [(typeof forms)[0]]);
  return z.preprocess(named, form);
}

function optionValue({ kind, check, words }: AttributorOption): z.ZodType {
  if (kind === 'word') return z.enum(words as [string]);
  return z.custom((value) => check(value) === undefined, { error: ({ input }) => check(input) });
}

/** The parsed file; absent values that depend on others (seeds, peakEpoch) stay absent here. */
export const planSchema = closed({
  version: z.literal(1).default(defaults.version).describe('of the format'),
  name: name.optional().describe("of the run and its folder; the file's name where it is absent"),
  seed: whole(0).default(defaults.seed).describe('of everything that is drawn'),
  data: closed({
    name: name.default(defaults.data.name).describe('a data set: synthetic, cifar10, npy, or one of your own'),
    trainPerClass: whole(0).default(defaults.data.trainPerClass).describe('the first examples of each class in file order; 0: all'),
    validationPerClass: whole(0).default(defaults.data.validationPerClass).describe('the same of validation points'),
  }).prefault({}),
  net: closed({
    name: name.optional().describe('a network: resnet9, resnet18 or smallcnn; resnet9 where it is absent'),
    width: whole(1).optional().describe('channel counts are divided by it; 8 where it is absent'),
    file: filePath('an ONNX file').optional().describe('instead of a name, with --engine ort; counts from the folder of the plan'),
    sha256: digest.optional().describe('of that file; refused where it differs'),
  }).prefault({}),
  recipe: recipeSchema.prefault({}),
  subsetModels: closed({
    count: models(0).default(defaults.subsetModels.count).describe('models on random subsets, from which datamodels are learned'),
    subsetFraction: fraction.default(defaults.subsetModels.subsetFraction).describe('of the train examples in each'),
    modelsPerShard: whole(1).default(defaults.subsetModels.modelsPerShard).describe('models of a task and of a file, of all kinds'),
  }).prefault({}),
  originals: closed({
    count: models(1, firstTuningOriginal)
      .default(defaults.originals.count)
      .describe('models on all train examples, which methods start from'),
  }).prefault({}),
  oracles: closed({
    scored: models(0).default(defaults.oracles.scored).describe('retrained models a forget set that stand for the truth'),
    matched: models(0)
      .default(defaults.oracles.matched)
      .describe('others: targets of oracle matching, of tuning and of the floor; never scored against'),
  }).prefault({}),
  fit: attributor({}).optional(),
  attributors: z
    .array(
      attributor({
        name: name.optional().describe('what other parts of the plan call it; the estimator where it is absent'),
        models: whole(2).optional().describe('fitted on the first so many subset models; absent: on all'),
      }),
    )
    .min(1, { error: 'at least one attributor' })
    .optional(),
  lds: closed({
    heldOutFraction: fraction.default(defaults.lds.heldOutFraction).describe('of the subset models, which no fit of the LDS curve sees'),
    numModels: z
      .array(whole(2))
      .default(defaults.lds.numModels)
      .describe('ascending: points of the curve before the last, which has all that are not held out'),
    ceiling: truth.optional().describe('train the held-out masks a second time, to say what LDS a perfect prediction would have'),
  }).prefault({}),
  forgetSets: z.array(forgetSet).default(defaults.forgetSets),
  calibration: closed({ forgetSet: name.describe('whose matched oracles give scale: calibrated its value') }).optional(),
  methods: z
    .array(
      closed({
        method: z.enum(methodNames).describe('see below'),
        grid: grid
          .default({})
          .describe("values of hyper-parameters, all combinations of which run; paper: the paper's grid; absent: the published setting"),
      }),
    )
    .default(defaults.methods),
  tuning: closed({
    numModels: models(0, mostModels - firstTuningOriginal)
      .default(defaults.tuning.numModels)
      .describe('more originals, on which grids are tuned against matched oracles; 0: every setting runs on all scored ones'),
    criterion: z
      .enum(tuningCriteria)
      .default(defaults.tuning.criterion)
      .describe('divergence of margins: 95th percentile, average of the splits; or 99th percentile over forget points'),
  }).prefault({}),
  klom: closed({
    variant: z.enum(klomVariants).default(defaults.klom.variant).describe('which published reading of the bins'),
    bins: whole(2).default(defaults.klom.bins).describe('of the histogram of a point'),
    clip: positive.default(defaults.klom.clip).describe('margins beyond are taken as this'),
    epsilon: fraction.default(defaults.klom.epsilon).describe('probability of a bin that is empty on one side only'),
  }).prefault({}),
});

export type ParsedPlan = z.output<typeof planSchema>;
