/** Rate and time left of a run, in the tasks' common cost unit. Pure: the clock comes in. */
export interface RunProgress {
  stage: string;
  /** Tasks of all stages, those found finished at the start included. */
  tasksDone: number;
  tasksTotal: number;
  costDone: number;
  costTotal: number;
  /** Cost a second over this session, finished work of earlier sessions left out; NaN before anything was done. */
  rate: number;
  /** NaN while the rate is unknown. */
  secondsLeft: number;
}

export class ProgressMeter {
  private finished = 0;
  private readonly running = new Map<string, number>();
  private tasksDone = 0;

  constructor(
    private readonly costTotal: number,
    private readonly tasksTotal: number,
    private readonly startedMs: number,
  ) {}

  /** Work of an earlier session: counts as done, not for the rate. */
  private skippedCost = 0;

  skip(cost: number): void {
    this.skippedCost += cost;
    this.tasksDone++;
  }

  /** Part of a running task, in its own cost. */
  update(task: string, cost: number): void {
    this.running.set(task, cost);
  }

  finish(task: string, cost: number): void {
    this.running.delete(task);
    this.finished += cost;
    this.tasksDone++;
  }

  /** A failed task gives its part back. */
  drop(task: string): void {
    this.running.delete(task);
  }

  read(stage: string, nowMs: number): RunProgress {
    const inSession = [...this.running.values()].reduce((sum, cost) => sum + cost, this.finished);
    const costDone = this.skippedCost + inSession;
    const rate = inSession > 0 ? inSession / Math.max((nowMs - this.startedMs) / 1000, 1e-3) : NaN;
    const costLeft = this.costTotal - costDone;
    const secondsLeft = costLeft > 0 ? costLeft / rate : 0;
    return { stage, tasksDone: this.tasksDone, tasksTotal: this.tasksTotal, costDone, costTotal: this.costTotal, rate, secondsLeft };
  }
}

/**
 * An onProgress for programs: a line for people, at most one in `everyMs`, and one when all is done.
 * @example runStages(stages, context, { executor: 'inline', workers: 1, onProgress: progressLines(console.error) })
 */
export function progressLines(write: (line: string) => void, everyMs = 2000, now = Date.now): (progress: RunProgress) => void {
  let last = -Infinity;
  let ended = false;
  return ({ stage, tasksDone, tasksTotal, costDone, costTotal, secondsLeft }) => {
    const atEnd = tasksDone === tasksTotal;
    if (ended || (!atEnd && now() - last < everyMs)) return;
    last = now();
    ended = atEnd;
    const left = Number.isNaN(secondsLeft) ? '' : `, about ${Math.ceil(secondsLeft)} s left`;
    const share = costTotal > 0 ? Math.floor((100 * costDone) / costTotal) : 100;
    write(`${stage}: ${tasksDone} of ${tasksTotal} tasks, ${share} %${left}`);
  };
}
