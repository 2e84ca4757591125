import fc from 'fast-check';
import fs from 'node:fs';
import path from 'node:path';
import { attributorsOf, comparedAttributors } from '../../src/attributors/planned.js';
import { LetheError } from '../../src/errors.js';
import { loadPlan } from '../../src/jobs/plan.js';
import { formatJson } from '../../src/store/disk/json.js';
import { planDifference, planHash } from '../../src/store/folders/planIdentity.js';
import { methods } from '../../src/unlearn/registry.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();

async function load(text: string, name = 'plan.yaml') {
  const file = path.join(folder, name);
  fs.writeFileSync(file, text);
  return loadPlan(file);
}

async function message(text: string, name?: string): Promise<string> {
  try {
    await load(text, name);
  } catch (error) {
    if (!(error instanceof LetheError)) throw error;
    expect([error.code, error.exitCode]).toEqual(['LETHE_PLAN_INVALID', 2]);
    return error.message;
  }
  throw new Error(`accepted: ${text}`);
}

test('an empty plan is the documented default, written out', async () => {
  const plan = await load('');
  expect(plan).toMatchObject({
    version: 1,
    name: 'plan',
    seed: 0,
    data: { name: 'synthetic', trainPerClass: 0, validationPerClass: 0 },
    net: { name: 'resnet9', width: 8 },
    recipe: {
      epochs: 20,
      batchSize: 64,
      optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 5e-4 },
      schedule: { kind: 'triangle', learningRate: 0.15, peakEpoch: (5 / 24) * 20 },
      labelSmoothing: 0,
    },
    subsetModels: { count: 1000, subsetFraction: 0.5, modelsPerShard: 50 },
    oracles: { scored: 100, matched: 100 },
    fit: { estimator: 'lasso', pathLength: 100, lambdaMinRatio: 0.01, select: 'pooled', refit: true, gapTolerance: 1e-4, seed: 0 },
    lds: { heldOutFraction: 0.1, numModels: [] },
    forgetSets: [],
    tuning: { numModels: 24, criterion: 'average-p95' },
    klom: { variant: 'default', bins: 20, clip: 100, epsilon: 1e-5 },
  });
  expect(plan.methods).toEqual(methods.filter(({ onlyListed }) => !onlyListed).map(({ name }) => ({ method: name, grid: {} })));
  // a resolved plan is a plan: it resolves to itself
  expect(await load(formatJson(plan), 'plan.json')).toEqual(plan);
});

test('options of the fit that were not asked for stay absent', async () => {
  expect(Object.keys((await load('')).fit!)).not.toEqual(expect.arrayContaining(['folds']));
  expect((await load('fit: { standardise: false }')).fit).toEqual((await load('')).fit);
  const { fit } = await load('fit: { select: kfold, lambdas: [0.1, 0.3], standardise: true }');
  expect(fit).toMatchObject({ select: 'kfold', folds: 5, lambdas: [0.1, 0.3], standardise: true });
});

test('one attributor is a fit, several stand side by side under their names', async () => {
  expect(await load('attributors: [{ name: lasso }]')).toEqual(await load(''));
  expect(await load('fit: { lambda: 0.1 }')).toEqual(await load('fit: { select: none, lambda: 0.1 }')); // as on the command line
  const several = await load(
    'seed: 3\nattributors: [{ name: lasso }, { name: by-folds, estimator: lasso, select: kfold }, { name: marginal, seed: 5 }]',
  );
  expect(several.fit).toBeUndefined();
  expect(several.attributors).toMatchObject([
    { name: 'lasso', estimator: 'lasso', select: 'pooled', seed: 3 },
    { name: 'by-folds', estimator: 'lasso', select: 'kfold', folds: 5, seed: 3 },
    { name: 'marginal', estimator: 'marginal', seed: 5 },
  ]);
  expect(await load(formatJson(several), 'several.json')).toEqual({ ...several, name: 'plan' });
  expect(attributorsOf(several).map(({ name, folder }) => [name, folder])).toEqual([
    ['lasso', undefined],
    ['by-folds', 'by-folds'],
    ['marginal', 'marginal'],
  ]);
  const compared = comparedAttributors(await load('fit: { relaxation: 0.5, select: kfold }')).map(({ name, options }) => [name, options]);
  expect(compared).toMatchObject([
    ['lasso', { relaxation: 0.5, folds: 5 }],
    ['marginal', { estimator: 'marginal', folds: 5 }],
  ]);
  expect(compared[1]![1]).not.toHaveProperty('relaxation');
});

test('values that follow from others', async () => {
  const plan = await load('seed: 5\nrecipe: { epochs: 24 }\noriginals: { count: 4 }\nforgetSets: [{ name: a, kind: random, size: 10 }]');
  expect(plan.recipe.schedule).toEqual({ kind: 'triangle', learningRate: 0.15, peakEpoch: 5 });
  expect(plan.fit!.seed).toBe(5);
  expect(plan.forgetSets).toEqual([{ name: 'a', kind: 'random', size: 10, seed: 5 }]);
});

test('augmentation: absent by default, written out when asked for, and none when it does nothing', async () => {
  const none = await load('');
  expect(none.recipe).not.toHaveProperty('augment');
  expect(await load('recipe: { augment: { flip: false } }')).toEqual(none);
  expect((await load('recipe: { augment: { cropPadding: 4 } }')).recipe.augment).toEqual({ cropPadding: 4, flip: false });
  expect(await message('recipe: { augment: { cropPadding: -1 } }')).toMatch(/recipe\.augment\.cropPadding/);
  expect(await message('recipe: { augment: { flips: true } }')).toMatch(/Did you mean flip\?/);
});

test('the plans that come with Lethe resolve, Living-17 to the recipe of the paper', async () => {
  const directory = path.resolve(import.meta.dirname, '..', '..', 'plans');
  const plans = await Promise.all(fs.readdirSync(directory).map((file) => loadPlan(path.join(directory, file))));
  expect(plans.find(({ name }) => name === 'living17-paper')).toMatchObject({
    data: { name: 'npy' },
    net: { name: 'resnet18', width: 1 },
    recipe: { epochs: 25, batchSize: 1024, labelSmoothing: 0.1, schedule: { learningRate: 0.6, peakEpoch: 12 } },
  });
});

test('JSON and YAML of one plan are the same plan, key order does not matter, tabs and escapes are read', async () => {
  const json = '{\n\t"seed": 3,\n\t"net": {\n\t\t"width":\t16, "name": "r\\u0065snet9"}}';
  const [a, b] = [await load(json, 'same.json'), await load('net:\n  name: resnet9\n  width: 16\nseed: 3\n', 'same.yaml')];
  expect(a).toEqual(b);
  expect(planHash(a)).toBe(planHash(b));
  expect(planHash(a)).not.toBe(planHash({ ...a, seed: 4 }));
  expect(planDifference(a, { ...a, seed: 4, fit: { ...a.fit, lambda: 1 } })).toEqual(['seed: 3 -> 4', 'fit.lambda: absent -> 1']);
});

test.each([
  ['recipe:\n  epoch: 3', /plan\.yaml, line 2, recipe\.epoch; expected a known key; received "epoch"\. Did you mean epochs\?/],
  ['seeds: 1', /line 1, seeds.*Did you mean seed\?/],
  ['forgetSets:\n  - { name: a, kind: random, sise: 3 }', /forgetSets\[0\]\.sise.*Did you mean size\?/],
  ['recipe: { optimizer: { kind: sgd, lr: 1 } }', /recipe\.optimizer\.lr.*Use one of: kind, momentum, weightDecay/],
  ['recipe: { optimizer: { kind: adm } }', /recipe\.optimizer\.kind; expected one of sgd, adam; received "adm"\. Did you mean adam\?/],
  ['recipe: { schedule: { kind: triangle } }', /recipe\.schedule\.learningRate; expected a number above 0; received nothing/],
  ['methods: [{ method: dnn }]', /methods\[0\]\.method.*Did you mean dmm\?/],
  ['methods: [{ method: dmm, grid: { learningRate: 0.1 } }]', /methods\[0\]\.grid\.learningRate; expected a list; received 0\.1/],
  ['methods: [{ method: dmm, grid: { learning-rate: [1] } }]', /grid\.learning-rate; expected a hyper-parameter/],
  ['methods: [{ method: dmm, grid: papers }]', /grid; expected "paper" or lists of values by hyper-parameter; received "papers"/],
  ['methods: [{ method: dmm, grid: { epochs: [1, 1] } }]', /every value once/],
  ['methods: [{ method: dmm, grid: { epochs: [1.5] } }]', /whole numbers of epochs/],
  ['methods: [{ method: dmm, grid: { epochs: [] } }]', /at least one value/],
  ['methods: [{ method: dmm }, { method: dmm }]', /methods\[1\]\.method; expected every method once/],
  ['subsetModels: { subsetFraction: 50 }', /subsetFraction; expected a fraction between 0 and 1, both excluded; received 50/],
  ['recipe: { epochs: "20" }', /recipe\.epochs; expected a whole number from 1 on; received "20"/],
  ['recipe: { epochs: 20 epochs }', /received "20 epochs"/],
  ['recipe: { epochs: 2.5 }', /received 2\.5/],
  ['recipe: { batchSize: 0 }', /received 0/],
  ['seed: -1', /received -1/],
  ['seed: 1e400', /seed; expected a whole number/],
  ['seed: .nan', /seed; expected a whole number/],
  ['fit: { refit: 1 }', /fit\.refit; expected true or false; received 1/],
  ['fit: { select: none }', /fit\.lambda; expected a lambda \(or a lambdaRatio\), as select is none; received nothing/],
  ['net: { name: resnet9, file: a.onnx }', /net\.name; expected nothing beside net\.file, which holds the whole network; received resnet9/],
  ['net: { file: "" }', /net\.file; expected the path of an ONNX file/],
  ['fit: { select: pooled, lambda: 0.1 }', /fit\.lambda.*Set select to none/],
  ['fit: { select: kfold, lambda: 0.1 }', /fit\.lambda; expected no lambda, as select is kfold; received 0\.1/],
  ['fit: { select: kfold, refit: false }', /fit\.refit; expected true, as k-fold leaves no single fit to keep; received false/],
  ['fit: { folds: 4 }', /fit\.folds; expected no folds, as select is pooled; received 4/],
  ['fit: { select: kfold, folds: 60 }\nlds: { numModels: [50] }', /fit\.folds; expected at most 50, the models of the smallest fit/],
  [
    'fit: { select: pooled, lambdas: [0.1] }',
    /fit\.lambdas; expected no lambdas to choose from, as select is pooled.*Set select to holdout or kfold/,
  ],
  ['fit: { select: none, lambda: 0.1, lambdaRatio: 0.2 }', /fit\.lambda; expected a lambda \(or a lambdaRatio\).*received both/],
  ['fit: { select: pooled, lambdaRatio: 0.2 }', /fit\.lambdaRatio; expected no lambdaRatio, as select is pooled/],
  ['fit: { refit: false }', /fit\.refit; expected true, as a pooled choice leaves no single fit to keep/],
  ['fit: { select: holdout, criterion: error }', /fit\.criterion; expected no criterion, as select is holdout/],
  ['fit: { criterion: luck }', /fit\.criterion; expected one of correlation, error; received "luck"/],
  ['fit: { relaxation: 1.5 }', /fit\.relaxation; expected a number from 0 to 1; received 1\.5/],
  ['fit: { estimator: marginal, relaxation: 1 }', /fit\.relaxation; expected a known key/],
  ['fit: { estimator: laso }', /fit\.estimator; expected one of lasso, marginal.*received "laso". Did you mean lasso\?/],
  ['fit: { lambdaMinRatio: 1 }', /fit\.lambdaMinRatio; expected a fraction between 0 and 1, both excluded; received 1/],
  ['fit: []', /fit; expected an object; received \[\]/],
  ['fit: {}\nattributors: [{ name: lasso }]', /fit; expected nothing beside attributors, which lists them all.*Move the options of fit/],
  ['attributors: []', /attributors; expected at least one attributor/],
  ['attributors: [{ name: lasso }, { name: lasso }]', /attributors\[1\]\.name; expected every name once.*Give one of them another name/],
  ['attributors: [{ name: lasso }, { name: other }]', /attributors\[1\]\.estimator; expected one of lasso/],
  ['attributors: [{ name: lasso, folds: 3 }]', /folds; expected no folds, as select is pooled/],
  ['attributors: [{ name: ../x, estimator: lasso }]', /attributors\[0\]\.name; expected a name of lower-case/],
  ['fit: { select: holdout, lambdas: [0.1, 0.2, 0.1] }', /fit\.lambdas; expected no two alike/],
  ['fit: { select: none, lambda: 0.1, lambdas: [0.1] }', /fit\.lambdas; expected no lambdas to choose from/],
  ['recipe: []', /recipe; expected an object; received \[\]/],
  ['recipe:', /recipe; expected an object; received null/],
  ['- 1', /expected an object/],
  ['version: 2', /version; expected 1; received 2/],
  ['recipe: { schedule: { kind: cosine, learningRate: 1, peakEpoch: 21 } }', /peakEpoch; expected at most the 20 epochs/],
  ['recipe: { schedule: { kind: steps, learningRate: 1, factor: 0.1, atEpochs: [9, 3] } }', /increasing epochs/],
  ['subsetModels: { modelsPerShard: 10 }', /modelsPerShard; expected at least 40, for at most 50 files per 1,000 models/],
  ['subsetModels: { count: 2 }', /subsetModels\.count; expected 0 or more than 2 models, as so many are held out for LDS.*; received 2/],
  ['subsetModels: { count: 5 }\nlds: { heldOutFraction: 0.9, numModels: [] }', /count; expected 0 or more than 5 models/],
  ['subsetModels: { count: 16777217, modelsPerShard: 16777217 }', /count; expected a whole number from 0 to 16777216/],
  [
    'subsetModels: { count: 6 }\nlds: { numModels: [] }\nfit: { select: kfold }',
    /fit\.folds; expected at most 4, the models of the smallest fit/,
  ],
  ['forgetSets: [{ name: a, kind: random, size: 1, seed: 4294967296 }]', /forgetSets\[0\]\.seed; expected at most 4294967295/],
  ['seed: 4294967296\nforgetSets: [{ name: a, kind: random, size: 1 }]', /forgetSets\[0\]\.seed.*Give the set a seed of its own/],
  ['lds: { numModels: [1000] }', /lds\.numModels; expected at most the 900 subset models that are not held out/],
  ['tuning: { criterion: p95 }', /tuning\.criterion; expected one of average-p95, forget-p99; received "p95"/],
  ['name: ../x', /line 1, name; expected a name of lower-case/],
  ['forgetSets: [{ name: "a/b", kind: file, path: x.npy }]', /forgetSets\[0\]\.name/],
  ['forgetSets: [{ name: lds, kind: file, path: x.npy }]', /a name that Lethe does not use itself/],
  [
    'forgetSets: [{ name: a, kind: file, path: x.npy }, { name: a, kind: random, size: 1 }]',
    /forgetSets\[1\]\.name; expected every name once/,
  ],
  ['forgetSets: [{ name: a, kind: principalComponent, component: 1 }]', /top 0 and bottom 0/],
  ['forgetSets: [{ name: a, kind: file, path: x.npy }]\nsubsetModels: { count: 0 }', /subset models, which dm-direct needs/],
  [
    'forgetSets: [{ name: a, kind: file, path: x.npy }]\noracles: { matched: 0 }',
    /oracles\.matched; expected at least 1, as floor.*Train as many as are scored/,
  ],
  ['forgetSets: [{ name: a, kind: file, path: x.npy }]\noracles: { scored: 0 }', /oracles\.scored/],
  ['seed: 1\nseed: 2', /line 1, seed; expected every key once; received "seed" a second time in line 2/],
  ['__proto__: { seed: 1 }', /line 1, __proto__.*Remove it/],
  ['methods: [{ method: dmm, grid: { __proto__: [1] } }]', /grid\.__proto__/],
  ['constructor: 1', /constructor; expected a known key/],
  ['recipe: &r { epochs: 3 }\nnet: *r', /a reference \*r.*Write the value out/],
  ['seed: !!binary aGk=', /LETHE_PLAN_INVALID/],
  ['seed: 1\n---\nseed: 2', /YAML document/],
  ['seed: [', /line 1; expected a YAML document/],
  ['1: 2', /text as keys/],
])('%j is refused', async (text, expected) => {
  expect(await message(text)).toMatch(expected);
});

test.each([
  ['{"seed": 1, "seed": 1}', /every key once; received "seed" a second time/],
  ['{"recipe": {\n"epochs": 1,\n "epochs": 2}}', /line 2, recipe\.epochs; expected every key once; .* in line 3/],
  ['{"__proto__": {"seed": 1}}', /__proto__/],
  ['{"net": {"__proto__": null}}', /net\.__proto__/],
  ['{"\\u005f_proto__": 1}', /__proto__/],
  ['{"seed": 1,}', /is not JSON/],
  ['seed: 1', /is not JSON/],
  ['{"seed": 0x10}', /is not JSON/],
])('JSON %j is refused', async (text, expected) => {
  expect(await message(text, 'plan.json')).toMatch(expected);
});

test('all mistakes are listed, files that are no plans refused', async () => {
  const text = await message('seed: x\nrecipe: { epoch: 1, batchSize: -1 }');
  expect(text).toMatch(/seed; .*\n {2}.*recipe\.batchSize.*\n {2}.*recipe\.epoch.*Did you mean epochs/s);
  expect(await message('', 'plan.txt')).toMatch(/\.json, \.yaml or \.yml/);
  expect(await message('', 'No-Name!.yaml')).toMatch(/Give the plan a name/);
  expect(await message(`name: ${'a'.repeat(2 << 20)}`)).toMatch(/too large/);
  fs.writeFileSync(path.join(folder, 'latin.yaml'), Buffer.from('name: caf\xe9', 'latin1'));
  await expect(loadPlan(path.join(folder, 'latin.yaml'))).rejects.toThrow(/UTF-8/);
  await expect(loadPlan(path.join(folder, 'none.yaml'))).rejects.toMatchObject({ code: 'LETHE_FILE_MISSING', exitCode: 2 });
});

test('any document is accepted or refused with a place, never crashes', async () => {
  const keys = fc.constantFrom('seed', 'recipe', 'epochs', 'methods', 'grid', '__proto__', 'forgetSets', 'kind', 'random', 'x');
  const document = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(0, 1, -1, 1e300, null, true, 'random', 'dmm', ''),
      fc.array(tie('value'), { maxLength: 3 }),
      tie('map'),
    ),
    map: fc.dictionary(keys, tie('value'), { maxKeys: 4 }),
  })).value;
  await fc.assert(
    fc.asyncProperty(document, async (value) => {
      try {
        await load(JSON.stringify(value), 'fuzz.json');
      } catch (error) {
        if (!(error instanceof LetheError)) throw error;
        expect(error.message).toMatch(/^LETHE_PLAN_INVALID: .*fuzz\.json.*; expected .+; received .+/s);
      }
    }),
    { numRuns: 400 },
  );
});
