/**
 * Damaged files of every format that is read: a value that holds together or an error of damaged input, never a hang or a crash.
 * LETHE_FUZZ_SECONDS=600 jest test/store/fuzz tries each reader for ten minutes.
 */
import fs from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { compiledHelper } from '../helpers/compiled.js';
import type { FuzzJob, FuzzResult } from '../helpers/fuzzWorker.js';
import { temporaryFolder } from '../helpers/temporary.js';

const mutations = 300;
const seconds = process.env['LETHE_FUZZ_SECONDS'] === undefined ? undefined : Number(process.env['LETHE_FUZZ_SECONDS']);
/** A mutation that is not through by then hangs: the others take milliseconds. */
const hangMs = 30_000;
const folder = temporaryFolder();

async function fuzz(reader: string): Promise<FuzzResult> {
  const own = path.join(folder, reader);
  fs.mkdirSync(own);
  const current = new Int32Array(new SharedArrayBuffer(4));
  const job: FuzzJob = { reader, folder: own, count: mutations, current, ...(seconds === undefined ? {} : { seconds }) };
  const worker = new Worker(compiledHelper('fuzzWorker'), { workerData: job, resourceLimits: { maxOldGenerationSizeMb: 512 } });
  let last = -1;
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<FuzzResult>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
      timer = setInterval(() => {
        const now = Atomics.load(current, 0);
        if (now === last) reject(new Error(`${reader} hangs at mutation ${now}`));
        last = now;
      }, hangMs);
    });
  } finally {
    clearInterval(timer);
    await worker.terminate();
  }
}

it.each(['datamodels', 'outputs', 'masks', 'safetensors', 'cifar', 'images', 'npy', 'tar', 'json'])(
  'damaged files: %s',
  async (reader) => {
    const { faults, tried, accepted } = await fuzz(reader);
    expect(faults).toEqual([]);
    if (seconds === undefined) expect(tried).toBe(mutations);
    expect(accepted).toBeLessThan(tried);
    if (seconds !== undefined) process.stderr.write(`${reader}: ${tried} mutations, ${accepted} accepted\n`);
  },
  120_000 + 1000 * (seconds ?? 0),
);
