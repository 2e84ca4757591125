/** A worker thread of the ort engine: takes tasks one at a time, keeps the sessions of the last problem. */
import { parentPort } from 'node:worker_threads';
import { errorCode } from '../errors.js';
import type { TrainJob, TrainOutputs, TrainResult } from '../types.js';
import { toGraph } from './ortProblem.js';
import type { OrtProblem } from './ortProblem.js';
import { floats, OrtSessions } from './ortSession.js';
import { trainJob } from './ortTrainer.js';

export type OrtTask =
  | { kind: 'train'; job: TrainJob; outputs: TrainOutputs }
  /** One model, (numParameters) in the parameter layout. */
  | { kind: 'forward'; parameters: Float32Array; points: Int32Array };

/** Engine to worker. `problem` is absent when the worker has it already. */
export interface OrtOrder {
  problem?: OrtProblem;
  task: OrtTask;
  /** Not 0 when the call is to stop. */
  abortFlag: Int32Array;
}

export type OrtValue = TrainResult | Float32Array;

/** Worker to engine. */
export type OrtAnswer =
  { kind: 'progress'; images: number } | { kind: 'done'; value: OrtValue } | { kind: 'failed'; code: string | undefined; message: string };

const progressEveryMs = 50;
let sessions: OrtSessions | undefined;

async function perform({ problem, task, abortFlag }: OrtOrder): Promise<OrtValue> {
  if (problem) sessions = new OrtSessions(problem);
  if (!sessions) throw new Error('a task came before its problem');
  const aborted = (): boolean => Atomics.load(abortFlag, 0) !== 0;
  if (task.kind === 'train') {
    const report = new Reporter();
    const result = await trainJob(sessions, task.job, task.outputs, { aborted, onImages: report.add });
    report.flush();
    return result;
  }
  const flat = toGraph(task.parameters, sessions.problem.order);
  const model = sessions.newVectors();
  floats(model.parameters).set(flat.subarray(0, sessions.sizes.trainable));
  floats(model.state).set(flat.subarray(sessions.sizes.trainable));
  return sessions.evaluate(model, task.points, aborted);
}

/** Collects images and reports them now and then: a report wakes the JavaScript thread. */
class Reporter {
  private images = 0;
  private told = 0;

  readonly add = (images: number): void => {
    this.images += images;
    if (Date.now() - this.told >= progressEveryMs) this.flush();
  };

  flush(): void {
    if (this.images > 0) answer({ kind: 'progress', images: this.images });
    this.images = 0;
    this.told = Date.now();
  }
}

function answer(message: OrtAnswer): void {
  parentPort!.postMessage(message);
}

parentPort!.on('message', (order: OrtOrder) => {
  perform(order).then(
    (value) => {
      answer({ kind: 'done', value });
    },
    (error: unknown) => {
      sessions = undefined;
      answer({ kind: 'failed', code: errorCode(error), message: error instanceof Error ? error.message : String(error) });
    },
  );
});
