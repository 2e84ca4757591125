/** Worker threads that outlive a call, so that sessions are made once; idle ones let the process end. */
import { Worker } from 'node:worker_threads';
import { ExitCode, LetheError } from '../errors.js';
import type { OrtProblem } from './ortProblem.js';
import type { OrtAnswer, OrtOrder, OrtTask, OrtValue } from './ortWorker.js';

/** After an abort a worker in the middle of a long step is left to itself after this long. */
const patienceMs = 300;

interface Member {
  worker: Worker;
  /** Key of the problem whose sessions it holds. */
  problem: string | undefined;
}

export interface PoolCall {
  problem: OrtProblem;
  tasks: OrtTask[];
  threads: number;
  abortFlag: Int32Array;
  signal: AbortSignal | undefined;
  /** Images that tasks report while they run. */
  onImages: (images: number) => void;
  /** A task has ended. */
  onDone: () => void;
}

export class OrtPool {
  private readonly idle: Member[] = [];

  /** One value a task, in their order. @throws LETHE_TASK_ABORTED, LETHE_ORT_FAILED, the errors of the graph */
  async run(call: PoolCall): Promise<OrtValue[]> {
    const values: OrtValue[] = [];
    let next = 0;
    let failed = false;
    const lane = async (): Promise<void> => {
      while (next < call.tasks.length && !failed) {
        const index = next++;
        try {
          values[index] = await this.perform(call, call.tasks[index]!);
        } catch (error) {
          failed = true;
          throw error;
        }
        call.onDone();
      }
    };
    const ends = await Promise.allSettled(Array.from({ length: Math.min(call.threads, call.tasks.length) }, lane));
    if (call.signal?.aborted) throw aborted();
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    return values;
  }

  private start(): Member {
    const member: Member = { worker: new Worker(new URL('./ortWorker.js', import.meta.url)), problem: undefined };
    // an error of an idle worker has nobody to go to; one at work ends its task
    member.worker.on('error', () => undefined);
    member.worker.once('exit', () => {
      const at = this.idle.indexOf(member);
      if (at >= 0) this.idle.splice(at, 1);
    });
    return member;
  }

  private async perform(call: PoolCall, task: OrtTask): Promise<OrtValue> {
    if (call.signal?.aborted) throw aborted();
    const { key } = call.problem;
    const known = this.idle.findIndex(({ problem }) => problem === key);
    const member = this.idle.splice(Math.max(known, 0), 1)[0] ?? this.start();
    const { worker } = member;
    const order: OrtOrder = { task, abortFlag: call.abortFlag, ...(member.problem === key ? {} : { problem: call.problem }) };
    member.problem = key;
    // keeps the process alive until the step is done: ending a thread inside ONNX Runtime ends the process with it
    worker.ref();
    const free = (answer: Exclude<OrtAnswer, { kind: 'progress' }>): OrtValue => {
      worker.unref();
      this.idle.push(member);
      if (answer.kind === 'done') return answer.value;
      member.problem = undefined;
      throw failure(answer.message, answer.code);
    };
    return unlessAborted(converse(worker, order, call.onImages).then(free), call.signal);
  }
}

/** The worker's last word on an order. @throws LETHE_ORT_FAILED when it ends without one */
function converse(worker: Worker, order: OrtOrder, onImages: (images: number) => void): Promise<Exclude<OrtAnswer, { kind: 'progress' }>> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
    };
    const onMessage = (answer: OrtAnswer): void => {
      if (answer.kind === 'progress') {
        onImages(answer.images);
        return;
      }
      settle();
      resolve(answer);
    };
    const onError = (error: Error): void => {
      settle();
      reject(failure(error.message, undefined));
    };
    const onExit = (code: number): void => {
      onError(new Error(`a worker ended with code ${code}`));
    };
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    worker.postMessage(order);
  });
}

/** The value, or soon after an abort the error: a worker in the middle of a long step ends it for nobody. */
async function unlessAborted<T>(value: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return value;
  let giveUp = (): void => undefined;
  const impatience = new Promise<never>((_resolve, reject) => {
    giveUp = (): void => {
      setTimeout(() => {
        reject(aborted());
      }, patienceMs);
    };
    signal.addEventListener('abort', giveUp, { once: true });
  });
  try {
    return await Promise.race([value, impatience]);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

function aborted(): LetheError {
  return new LetheError('LETHE_TASK_ABORTED', 'stopped on request before all models were done', { exitCode: ExitCode.interrupted });
}

/** Errors of ours have crossed the thread as text that is complete already. */
function failure(message: string, code: string | undefined): Error {
  if (code?.startsWith('LETHE_')) return Object.assign(new Error(message), { code });
  return new LetheError('LETHE_ORT_FAILED', 'ONNX Runtime could not run the training graph', {
    received: message,
    action: 'Please report the network with this message; --engine native trains networks of layers without ONNX Runtime.',
    exitCode: ExitCode.environment,
  });
}
