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
    momentum: belowOne.default(defaults.optimizer.sgd.momentum),
    weightDecay: notNegative.default(defaults.optimizer.sgd.weightDecay),
  }),
  closed({
    kind: z.literal('adam'),
    beta1: belowOne.default(defaults.optimizer.adam.beta1),
    beta2: belowOne.default(defaults.optimizer.adam.beta2),
    epsilon: positive.default(defaults.optimizer.adam.epsilon),
    weightDecay: notNegative.default(defaults.optimizer.adam.weightDecay),
  }),
]);

const schedule = z.discriminatedUnion('kind', [
  closed({ kind: z.literal('constant'), learningRate: positive }),
  closed({ kind: z.literal('triangle'), learningRate: positive, peakEpoch: notNegative.optional() }),
  closed({ kind: z.literal('cosine'), learningRate: positive, peakEpoch: notNegative.optional() }),
  closed({ kind: z.literal('exponential'), learningRate: positive, factor: positive }),
  closed({ kind: z.literal('steps'), learningRate: positive, factor: positive, atEpochs: z.array(whole(1)) }),
]);

const forgetSet = z.discriminatedUnion('kind', [
  closed({ name, kind: z.literal('random'), size: whole(1), seed: whole(0).optional() }),
  closed({ name, kind: z.literal('file'), path: filePath('a .npy file') }),
  closed({ name, kind: z.literal('principalComponent'), component: whole(1), top: whole(0).default(0), bottom: whole(0).default(0) }),
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
  epochs: whole(1).default(defaults.recipe.epochs),
  batchSize: whole(1).default(defaults.recipe.batchSize),
  optimizer: optimizer.default(defaults.optimizer.sgd),
  schedule: schedule.default({ kind: defaults.schedule.kind, learningRate: defaults.schedule.learningRate }),
  labelSmoothing: belowOne.default(defaults.recipe.labelSmoothing),
  augment: closed({ cropPadding: whole(0).default(0), flip: truth.default(false) }).optional(),
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
  version: z.literal(1).default(defaults.version),
  name: name.optional(),
  seed: whole(0).default(defaults.seed),
  data: closed({
    name: name.default(defaults.data.name),
    trainPerClass: whole(0).default(defaults.data.trainPerClass),
    validationPerClass: whole(0).default(defaults.data.validationPerClass),
  }).prefault({}),
  net: closed({
    name: name.optional(),
    width: whole(1).optional(),
    file: filePath('an ONNX file').optional(),
    sha256: digest.optional(),
  }).prefault({}),
  recipe: recipeSchema.prefault({}),
  subsetModels: closed({
    count: models(0).default(defaults.subsetModels.count),
    subsetFraction: fraction.default(defaults.subsetModels.subsetFraction),
    modelsPerShard: whole(1).default(defaults.subsetModels.modelsPerShard),
  }).prefault({}),
  originals: closed({ count: models(1, firstTuningOriginal).default(defaults.originals.count) }).prefault({}),
  oracles: closed({ scored: models(0).default(defaults.oracles.scored), matched: models(0).default(defaults.oracles.matched) }).prefault(
    {},
  ),
  fit: attributor({}).optional(),
  attributors: z
    .array(attributor({ name: name.optional(), models: whole(2).optional() }))
    .min(1, { error: 'at least one attributor' })
    .optional(),
  lds: closed({
    heldOutFraction: fraction.default(defaults.lds.heldOutFraction),
    numModels: z.array(whole(2)).default(defaults.lds.numModels),
    ceiling: truth.optional(),
  }).prefault({}),
  forgetSets: z.array(forgetSet).default(defaults.forgetSets),
  calibration: closed({ forgetSet: name }).optional(),
  methods: z.array(closed({ method: z.enum(methodNames), grid: grid.default({}) })).default(defaults.methods),
  tuning: closed({
    numModels: models(0, mostModels - firstTuningOriginal).default(defaults.tuning.numModels),
    criterion: z.enum(tuningCriteria).default(defaults.tuning.criterion),
  }).prefault({}),
  klom: closed({
    variant: z.enum(klomVariants).default(defaults.klom.variant),
    bins: whole(2).default(defaults.klom.bins),
    clip: positive.default(defaults.klom.clip),
    epsilon: fraction.default(defaults.klom.epsilon),
  }).prefault({}),
});

export type ParsedPlan = z.output<typeof planSchema>;
