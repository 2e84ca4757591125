/**
 * Calls the addon (the file named first) so many times (second) with arguments that are wrong by chance (third: seed), takes its buffers
 * away in the middle of calls, and prints what came of it. Exits 1 where an error has no LETHE_ code or an answer is not what it should be.
 * Under AddressSanitizer (some minutes):
 *   cmake -G Ninja -S . -B build-sanitize-addon -DLETHE_CUDA=OFF -DLETHE_SANITIZE=address
 *   cmake --build build-sanitize-addon --target lethe
 *   LD_PRELOAD=$(g++ -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
 *     node test/native/addonCalls.mjs $PWD/build-sanitize-addon/lethe.node 20000
 */
import { createRequire } from 'node:module';
import { filledBy, functionOf, requests } from './addonRequests.mjs';

const [file, count = '2000', seed = '1'] = process.argv.slice(2);
const addon = createRequire(import.meta.url)(file);
const makers = await requests(addon);
const names = Object.keys(makers);

let state = Number(seed) >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let x = Math.imul(state ^ (state >>> 15), state | 1);
  x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
  return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
}
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];

const detached = (array) => (structuredClone(array.buffer, { transfer: [array.buffer] }), array);
const resizable = () => new Float32Array(new ArrayBuffer(64, { maxByteLength: 256 }));
const wrongValues = [
  () => undefined, () => null, () => NaN, () => Infinity, () => -1, () => 0.5, () => 0, () => 1, () => 3, () => 2 ** 31, () => 2 ** 32 + 1,
  () => 2 ** 53, () => 2 ** 53 - 1, () => 1e300, () => true, () => '', () => 'no such word', () => Symbol('s'), () => 10n, () => () => 1,
  () => ({}), () => [], () => [null], () => [1, , 3], () => Object.create(null), () => new Proxy({}, {}), () => new Date(0), // eslint-disable-line no-sparse-arrays
  () => new Float32Array(4), () => new Float64Array(4), () => new Int32Array(4), () => new Uint8Array(4), () => new BigInt64Array(2),
  () => new DataView(new ArrayBuffer(8)), () => new ArrayBuffer(8), () => detached(new Float32Array(8)), () => detached(new Int32Array(8)),
  () => new Int32Array(new SharedArrayBuffer(16)), () => new Float32Array(new SharedArrayBuffer(16)), resizable,
]; // prettier-ignore

/** A value of the right type: beside the right one, or far from it. */
function nearValue(value) {
  if (typeof value === 'number') return pick([0, 1, 2, value - 1, value + 1, value * 2, value / 2, -value, 2 ** 31 - 1, 65536, 1e-30, 1e30]);
  if ([Float32Array, Float64Array, Int32Array, Uint8Array].includes(value?.constructor)) {
    const length = pick([0, 1, value.length - 1, value.length + 1, value.length]);
    const wild = [0, -1, 1, 2 ** 31 - 1, -(2 ** 31), NaN, Infinity, -Infinity, 1e30, 1e-40];
    return value.constructor.from({ length: Math.max(0, length) }, (_, i) => (below(4) === 0 ? pick(wild) : value[i] ?? 0));
  }
  if (Array.isArray(value)) return pick([[], value.slice(1), [...value, ...value]]);
  return value;
}

/** Every place in the arguments: [holder, key]. */
function places(holder, found = []) {
  for (const key of Object.keys(holder)) {
    found.push([holder, key]);
    const value = holder[key];
    if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) places(value, found);
  }
  return found;
}

const arraysOf = (args) => places(args).filter(([holder, key]) => ArrayBuffer.isView(holder[key]));

/** The array's values in memory of another kind. */
function moved(array) {
  const kind = below(4);
  const bytes = array.byteLength;
  const buffer =
    kind === 0
      ? new ArrayBuffer(bytes, { maxByteLength: bytes + 64 })
      : kind === 1
        ? new SharedArrayBuffer(bytes)
        : kind === 2
          ? addon.allocate(bytes)
          : new ArrayBuffer(bytes);
  const copy = new array.constructor(buffer);
  copy.set(array);
  return copy;
}

/** What may befall an array while a call runs: nothing, transferred and freed, resized, overwritten. */
function disturb(array) {
  const { buffer } = array;
  const kind = below(4);
  if (kind === 0 || buffer instanceof SharedArrayBuffer) return false;
  if (kind === 1) return takeAway(buffer);
  if (kind === 2 && buffer.resizable) return (buffer.resize(0), true);
  return false;
}

function takeAway(buffer) {
  if (buffer.byteLength === 0) return false;
  if (buffer.transfer) return (buffer.transfer(0), true);
  try {
    structuredClone(buffer, { transfer: [buffer] });
  } catch (error) {
    if (error.name !== 'DataCloneError') throw error; // memory of the addon is not transferred
  }
  return buffer.byteLength === 0;
}

const tally = new Map();
const faults = [];
const isFilled = (name, key) => filledBy[functionOf(name)]?.includes(key) ?? false;

function note(name, outcome, detail) {
  tally.set(outcome, (tally.get(outcome) ?? 0) + 1);
  if (outcome === 'fault') faults.push(`${name}: ${detail}`);
}

function judge(name, error) {
  const code = error?.code;
  if (typeof code === 'string' && code.startsWith('LETHE_') && error instanceof Error) note(name, code);
  else note(name, 'fault', `an error without a code: ${String(error?.stack ?? String(error))}`);
}

async function callWrong(name) {
  const args = makers[name]();
  const wrong = 1 + below(3);
  for (let i = 0; i < wrong; i++) {
    const all = places(args);
    if (all.length === 0) break;
    const [holder, key] = pick(all);
    holder[key] = below(2) === 0 ? nearValue(holder[key]) : pick(wrongValues)();
  }
  if (below(20) === 0) args.splice(0, args.length, pick(wrongValues)());
  const flag = new Int32Array(new SharedArrayBuffer(4));
  if (args.length === 1) args.push(below(10) === 0 ? pick(wrongValues)() : undefined, below(10) === 0 ? pick(wrongValues)() : flag);
  const stop = setTimeout(() => Atomics.store(flag, 0, 1), 200);
  try {
    const running = addon[functionOf(name)](...args);
    if (below(2) === 0) for (const [holder, key] of arraysOf(args.slice(0, 1))) disturb(holder[key]);
    await running;
    note(name, 'answer');
  } catch (error) {
    judge(name, error);
  } finally {
    clearTimeout(stop);
  }
}

/** Right arguments in memory of all kinds, disturbed while the call runs: the undisturbed answer, or LETHE_BUFFER_LOST. */
async function callDisturbed(name) {
  const quiet = makers[name]();
  const expected = await addon[functionOf(name)](...quiet);
  const args = makers[name]();
  for (const [holder, key] of arraysOf(args)) holder[key] = moved(holder[key]);
  let lost = false;
  try {
    const running = addon[functionOf(name)](...args);
    for (const [holder, key] of arraysOf(args)) {
      const disturbed = disturb(holder[key]);
      lost ||= disturbed && isFilled(name, key);
    }
    const answer = await running;
    const same = lost ? false : sameAnswers(name, [expected, quiet], [answer, args]);
    if (same) note(name, 'answer');
    else note(name, 'fault', lost ? 'a lost buffer was not noticed' : 'another answer than undisturbed');
  } catch (error) {
    if (error.code === 'LETHE_BUFFER_LOST' && lost) note(name, error.code);
    else note(name, 'fault', `right arguments: ${error.stack}`);
  }
}

function sameAnswers(name, [expected, quiet], [answer, args]) {
  const skipped = new Set(['elapsedMs', 'handle']);
  const text = (value) => JSON.stringify(value, (key, part) => (skipped.has(key) ? undefined : ArrayBuffer.isView(part) ? Array.from(part, String) : part));
  const filled = (from) => arraysOf(from).flatMap(([holder, key]) => (isFilled(name, key) ? [holder[key]] : []));
  return text(expected) === text(answer) && text(filled(quiet)) === text(filled(args));
}

const parallel = 8;
const calm = names.filter((name) => !['describeNet', 'trainLayerRates', 'systemInfo', 'allocate'].includes(name));
let left = Number(count);
async function lane() {
  while (left-- > 0) {
    if (below(4) === 0) await callDisturbed(pick(calm));
    else await callWrong(pick(names));
  }
}
await Promise.all(Array.from({ length: parallel }, lane));
console.log(JSON.stringify({ calls: Number(count), ...Object.fromEntries([...tally].sort()) }));
for (const fault of faults.slice(0, 20)) console.log(fault);
process.exitCode = faults.length === 0 ? 0 : 1;
