import { Budget, renderBudget } from '../../src/bench/budget.js';
import { LetheError } from '../../src/errors.js';

const said: string[] = [];
function say(line: string): void {
  said.push(line);
}

/** Ends with its signal, as child processes and engines do. */
function untilStopped(signal: AbortSignal): Promise<object> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(new LetheError('LETHE_TASK_ABORTED', 'stopped', { exitCode: 75 }));
    });
  });
}

describe('a budget', () => {
  it('is shared equally among what is left to do', () => {
    const budget = new Budget({ seconds: 100, say });
    expect(budget.share(4).secondsLeft).toBeCloseTo(25, 0);
    expect(budget.share(1).share(2).secondsLeft).toBeCloseTo(50, 0);
  });

  it('stops work when time is up, starts none afterwards, and passes results and errors on', async () => {
    const budget = new Budget({ seconds: 0.2, say });
    expect(await budget.attempt(() => Promise.resolve({ value: 1 }))).toEqual({ value: 1 });
    await expect(budget.attempt(() => Promise.reject(new Error('wrong')))).rejects.toThrow('wrong');
    expect(await budget.attempt(untilStopped)).toBeUndefined();
    expect(await budget.attempt<object>(() => Promise.reject(new Error('never begun')))).toBeUndefined();
  });

  it("does not take the user's interrupt for its own end", async () => {
    const interrupt = new AbortController();
    const budget = new Budget({ seconds: 100, say, interrupt: interrupt.signal });
    const stopped = budget.attempt(untilStopped);
    interrupt.abort();
    await expect(stopped).rejects.toMatchObject({ code: 'LETHE_TASK_ABORTED' });
    await expect(budget.attempt(() => Promise.resolve({}))).rejects.toMatchObject({ code: 'LETHE_TASK_ABORTED', exitCode: 75 });
  });

  it('repeats while a round as long as the longest would end in time, and says what it left out', async () => {
    const budget = new Budget({ seconds: 1, say });
    let rounds = 0;
    const round = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, rounds++ === 0 ? 600 : 1));
    await budget.share(1).repeat(50, 'slow', round);
    expect(rounds).toBe(1);
    await budget.repeat(2, 'quick', () => Promise.resolve());
    const report = budget.report();
    expect(report).toMatchObject({ seconds: 1, cut: ['slow: 1 of 50 repeats done'] });
    expect(said).toContain('repeat 2 of 2');
    expect(renderBudget({ ...report, spentSeconds: 0.6 })).toBe('1 s of a budget of 1 s\ncut: slow: 1 of 50 repeats done\n');
  });
});
