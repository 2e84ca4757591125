import fc from 'fast-check';
import { parseJson } from '../../../src/store/disk/jsonText.js';

it('gives what JSON.parse gives', () => {
  fc.assert(
    fc.property(fc.json(), fc.constantFrom(0, 2), (text, indent) => {
      const value: unknown = JSON.parse(text);
      expect(parseJson(JSON.stringify(value, null, indent))).toEqual(value);
    }),
    { seed: 5, numRuns: 200 },
  );
});

it.each([
  '{"a":1,"a":1}',
  '{"a":[{"b":1, "c":{}, "b" \n: 2}]}',
  '{"a":1,"\\u0061":2}',
  '{"__proto__":1,"__proto__":2}',
  '{"a\\"":1,"a\\"":2}',
])('refuses a key twice: %s', (text) => {
  expect(() => parseJson(text)).toThrow(/duplicate key/);
});

it('takes one name in several objects, and texts that look like keys', () => {
  const text = '{"a":{"a":"a"},"b":[{"a":1},{"a":2}],"c":["a","a:","\\"a\\":"]}';
  expect(parseJson(text)).toEqual(JSON.parse(text));
});

it('refuses depths that would end in the stack', () => {
  expect(() => parseJson('['.repeat(100_000))).toThrow(/more than 64 levels/);
});
