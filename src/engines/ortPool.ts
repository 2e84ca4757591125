/** Worker threads that outlive a call, so that sessions are made once; idle ones let the process end. */
import { Worker } from 'node:worker_threads';
import { ExitCode, LetheError } from '../errors.js';
import type { OrtProblem } from './ortProblem.js';
import type { OrtAnswer, OrtOrder, OrtTask, OrtValue } from './ortWorker.js';

/** A worker that is in the middle of a long step is left to itself after this long. */
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
    // the other lanes end their task before this call does, so that no worker is at work for nobody
    const ends = await Promise.allSettled(Array.from({ length: Math.min(call.threads, call.tasks.length) }, lane));
    if (call.signal?.aborted) throw aborted();
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    return values;
  }

  private async perform(call: PoolCall, task: OrtTask): Promise<OrtValue> {
    if (call.signal?.aborted) throw aborted();
    const { key } = call.problem;
    const known = this.idle.findIndex(({ problem }) => problem === key);
    const member = this.idle.splice(Math.max(known, 0), 1)[0] ?? startWorker();
    const order: OrtOrder = { task, abortFlag: call.abortFlag, ...(member.problem === key ? {} : { problem: call.problem }) };
    member.problem = key;
    member.worker.ref();
    try {
      const value = await converse(member.worker, order, call);
      this.idle.push(member);
      return value;
    } catch (error) {
      void member.worker.terminate();
      throw error;
    } finally {
      member.worker.unref();
    }
  }
}

function startWorker(): Member {
  const worker = new Worker(new URL('./ortWorker.js', import.meta.url));
  // an error of an idle worker has nobody to go to; one at work ends its task
  worker.on('error', () => undefined);
  return { worker, problem: undefined };
}

function converse(worker: Worker, order: OrtOrder, { signal, onImages }: PoolCall): Promise<OrtValue> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    const settle = (end: () => void): void => {
      clearTimeout(timer);
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
      signal?.removeEventListener('abort', onAbort);
      end();
    };
    const fail = (error: Error): void => {
      settle(() => {
        reject(error);
      });
    };
    const onMessage = (answer: OrtAnswer): void => {
      if (answer.kind === 'progress') onImages(answer.images);
      else if (answer.kind === 'failed') fail(failure(answer.message, answer.code));
      else {
        settle(() => {
          resolve(answer.value);
        });
      }
    };
    const onError = (error: Error): void => {
      fail(failure(error.message, undefined));
    };
    const onExit = (code: number): void => {
      fail(failure(`a worker ended with code ${code}`, undefined));
    };
    const onAbort = (): void => {
      timer = setTimeout(() => {
        fail(aborted());
      }, patienceMs);
    };
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    signal?.addEventListener('abort', onAbort, { once: true });
    worker.postMessage(order);
  });
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
