import { onnxRuntime } from '../../src/models/onnxRuntime.js';

test('a runtime that cannot be loaded is an error of the environment, with the reason', () => {
  const fail = (): never => {
    throw new Error("/lib64/libc.so.6: version `GLIBC_2.99' not found\nRequire stack: ...");
  };
  const load = () => onnxRuntime(fail);
  expect(load).toThrow(/LETHE_ORT_UNAVAILABLE.*GLIBC_2\.99' not found\..*--engine native/);
  expect(load).toThrow(expect.objectContaining({ exitCode: 4 }) as Error);
  expect(onnxRuntime().listSupportedBackends().length).toBeGreaterThan(0);
});

test('nothing loads it before it is needed', async () => {
  const seen: string[] = [];
  const sources = await import('node:fs').then(({ default: fs }) =>
    fs
      .readdirSync('src', { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => [name, fs.readFileSync(`src/${name}`, 'utf8')] as const),
  );
  for (const [name, text] of sources) if (/^import (?!type).*'onnxruntime-node'/m.test(text)) seen.push(name);
  // what only a worker of the engine loads
  expect(seen.sort()).toEqual(['engines/ortSession.ts', 'engines/ortTrainer.ts']);
  const loaders = sources.filter(
    ([name, text]) =>
      !/ort(Session|Trainer|Worker)\.ts$/.test(name) && /^import (?!type)[^;]*ort(Session|Trainer|Worker)\.js'/ms.test(text),
  );
  expect(loaders.map(([name]) => name)).toEqual([]);
});
