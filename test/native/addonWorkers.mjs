/**
 * Ends so many worker threads (the second argument) while they are in calls of the addon (the file named first), then itself, in the middle
 * of a call: exit code 0 and "ended N" where nothing crashes.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { functionOf, requests } from './addonRequests.mjs';

const scales = { klom: 100, margins: 1000, moments: 1000, spearman: 100, bootstrapMeans: 20000, predict: 1000, openDesign: 40, fitDatamodels: 100, trainMany: 30000 };

async function begin(file, name, begun) {
  const addon = createRequire(import.meta.url)(file);
  const makers = await requests(addon);
  const args = makers[name](scales[name]);
  const running = addon[functionOf(name)](...args, () => undefined, undefined);
  begun();
  return running;
}

async function main() {
  const [file, count = '200'] = process.argv.slice(2);
  const names = Object.keys(scales);
  let next = 0;
  const lane = async () => {
    while (next < Number(count)) {
      const number = next++;
      const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { file, name: names[number % names.length] } });
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
      // some at once, some while progress is on its way
      if (number % 3 > 0) await new Promise((resolve) => setTimeout(resolve, number % 7));
      await worker.terminate();
    }
  };
  await Promise.all([lane(), lane()]);
  console.log(`ended ${next}`);
  await begin(file, 'trainMany', () => setTimeout(() => process.exit(0), 20));
  throw new Error('the call ended first');
}

if (isMainThread) await main();
else await begin(workerData.file, workerData.name, () => parentPort.postMessage('begun'));
