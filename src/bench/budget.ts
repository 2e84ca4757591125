/** How long a benchmark may take: equal shares for its parts, and words for what did not fit. */
import { errorCode, requireRunning } from '../errors.js';

/** Node's timers hold no more. */
const longestTimer = 2 ** 31 - 1;

export interface BudgetOptions {
  seconds: number;
  say: (line: string) => void;
  /** Of the user; what it stops is an error, not a cut. */
  interrupt?: AbortSignal | undefined;
}

/** What the report says of it. */
export interface BudgetReport {
  seconds: number;
  spentSeconds: number;
  /** What was left out or ended early because time was up, one line each. */
  cut: string[];
}

export class Budget {
  readonly #options: BudgetOptions;
  readonly #started: number;
  readonly #deadline: number;
  readonly #cut: string[];

  constructor(options: BudgetOptions, cut: string[] = []) {
    this.#options = options;
    this.#started = performance.now();
    this.#deadline = this.#started + 1000 * options.seconds;
    this.#cut = cut;
  }

  get secondsLeft(): number {
    return Math.max(0, (this.#deadline - performance.now()) / 1000);
  }

  /** An equal part of what is left, for the next of `count` pieces of work: what that does not use is left to the others. */
  share(count: number): Budget {
    return new Budget({ ...this.#options, seconds: this.secondsLeft / count }, this.#cut);
  }

  /**
   * Does the work unless time is up, and stops it by its signal when time is up during it: undefined when it was not done.
   * @throws LETHE_TASK_ABORTED (exit code 75) on the user's interrupt
   */
  async attempt<T extends object>(work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    const { interrupt } = this.#options;
    requireRunning(interrupt);
    const milliseconds = Math.floor(Math.min(1000 * this.secondsLeft, longestTimer));
    if (milliseconds === 0) return undefined;
    const timeUp = AbortSignal.timeout(milliseconds);
    try {
      return await work(interrupt ? AbortSignal.any([interrupt, timeUp]) : timeUp);
    } catch (error) {
      if (errorCode(error) !== 'LETHE_TASK_ABORTED' || interrupt?.aborted === true) throw error;
      return undefined;
    }
  }

  /** Up to `count` rounds: the first begins unless time is up, a further one where it should end in time, by the longest before it. */
  async repeat(count: number, what: string, round: (signal: AbortSignal) => Promise<void>): Promise<void> {
    let longest = 0;
    for (let done = 0; done < count; done++) {
      const started = this.secondsLeft;
      const finished = started > longest ? await this.attempt((signal) => round(signal).then(() => ({}))) : undefined;
      if (!finished) {
        this.cut(`${what}: ${done} of ${count} repeats done`);
        return;
      }
      longest = Math.max(longest, started - this.secondsLeft);
      this.#options.say(`repeat ${done + 1} of ${count}`);
    }
  }

  cut(line: string): void {
    this.#cut.push(line);
    this.#options.say(`${line} (time is up)`);
  }

  report(): BudgetReport {
    return { seconds: this.#options.seconds, spentSeconds: (performance.now() - this.#started) / 1000, cut: [...this.#cut] };
  }
}

/** For the tables. */
export function renderBudget({ seconds, spentSeconds, cut }: BudgetReport): string {
  const lines = cut.map((line) => `cut: ${line}\n`).join('');
  return `${spentSeconds.toFixed(0)} s of a budget of ${seconds} s\n${lines}`;
}
