import { decodeJson, decodeSealed } from '../../../src/store/disk/json.js';
import { parseJson } from '../../../src/store/disk/jsonText.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test.each([
  ['lists', '['.repeat(1500) + ']'.repeat(1500)],
  ['objects', '{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000)],
  ['open lists', '['.repeat(1_000_000)],
])('deep %s are refused before anything walks through them', (_name, text) => {
  expect(() => decodeJson(bytes(text), 'file')).toThrow(/LETHE_JSON_DAMAGED.*more than 64 levels/);
  expect(decodeSealed(bytes(text))).toBeUndefined();
});

test('brackets in texts are no levels', () => {
  const value = { a: ['[['.repeat(100), '{"\\'.repeat(100)], '{"[': [[[1]]] };
  expect(parseJson(JSON.stringify(value))).toEqual(value);
});
