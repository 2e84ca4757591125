import { engineSuffix } from '../../src/cli/quickstart.js';

it('every engine, device and precision has a default folder of its own, the usual one the plain name', () => {
  const native = { engine: 'native', device: 'cpu', precision: 'auto' } as const;
  expect(engineSuffix(native)).toBe('');
  expect(engineSuffix({ ...native, engine: 'ort' })).toBe('-ort');
  expect(engineSuffix({ ...native, device: 'cuda', precision: 'fp32' })).toBe('-cuda-fp32');
  const suffixes = (['fp32', 'bf16'] as const).map((precision) => engineSuffix({ ...native, precision }));
  expect(suffixes).toContain(''); // one of them is what auto means on this machine
  expect(new Set(suffixes).size).toBe(2);
});
