import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isArtefactPath, isName, layout } from '../../../src/store/folders/layout.js';

const name = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,20}$/);
const number = fc.nat({ max: 3_000_000 });

describe('the paths of a run folder', () => {
  it('are artefacts for any name and number', () => {
    fc.assert(
      fc.property(name, name, number, (set, other, count) => {
        expect(isName(set)).toBe(true);
        const paths = [
          layout.subsetOutputs(count),
          layout.tuningOriginals(count),
          layout.oracles(set, 'matched', count),
          layout.compressed(set, count, count),
          layout.penalties('margins', set),
          layout.logitDatamodels(count, set),
          layout.ldsPredictions(set, count),
          layout.forgetShift(set, other),
          layout.calibration(set),
          layout.tuningRun(set, other, count),
          layout.unlearned(set, other, count, count),
          layout.unlearned(set, other, 'chosen', count),
          layout.scores(set),
          layout.report(`figures/${set}/${other}`),
        ];
        expect(paths.filter((path) => !isArtefactPath(path))).toEqual([]);
      }),
    );
  });

  it.each([
    layout.provenance,
    layout.failed,
    'manifest/plan.json.json',
    '../plan.json',
    'plan-json',
    'masks.arrow.part',
    'outputs/00/shard-0001.arrow',
    'outputs/0/shard-00001.arrow',
    'datamodels/outputs.f33',
    'datamodels/a/b/scale.json',
    'unlearned/set/method/chosen/run-00001.arrow',
    'report/../plan.json',
    'scores/Set.json',
  ])('leave %s out', (path) => {
    expect(isArtefactPath(path)).toBe(false);
  });
});
