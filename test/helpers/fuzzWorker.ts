/** Feeds mutations of sound files to one reader, in a thread of its own so that the test sees it hang. */
import { parentPort, workerData } from 'node:worker_threads';
import { LetheError } from '../../src/errors.js';
import { mutate, randomNumbers } from './mutate.js';
import { readers } from './readers.js';

export interface FuzzJob {
  reader: string;
  folder: string;
  /** Mutations [first, first + count), or as many as go into `seconds`. */
  count: number;
  seconds?: number;
  /** (1) the mutation in work. */
  current: Int32Array;
}

export interface FuzzResult {
  tried: number;
  accepted: number;
  /** What ended otherwise than in a value or an error of damaged input. */
  faults: string[];
}

const mostFaults = 5;

async function fuzz({ reader, folder, count, seconds, current }: FuzzJob): Promise<FuzzResult> {
  const { sound, read } = await readers[reader]!(folder);
  for (const bytes of sound) await read(bytes);
  const result: FuzzResult = { tried: 0, accepted: 0, faults: [] };
  const end = seconds === undefined ? undefined : performance.now() + 1000 * seconds;
  for (let k = 0; end === undefined ? k < count : performance.now() < end; k++) {
    Atomics.store(current, 0, k);
    const bytes = mutate(sound[k % sound.length]!, randomNumbers(k));
    try {
      await read(bytes);
      result.accepted++;
    } catch (error) {
      if (!(error instanceof LetheError) || error.exitCode !== 3) {
        result.faults.push(`mutation ${k}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
      }
    }
    result.tried++;
    if (result.faults.length >= mostFaults) break;
  }
  return result;
}

parentPort!.postMessage(await fuzz(workerData as FuzzJob));
