import { progressLines, ProgressMeter } from '../../src/jobs/progress.js';

test('rate and time left count this session only; failed parts are given back', () => {
  const meter = new ProgressMeter(1000, 5, 10_000);
  meter.skip(400);
  expect(meter.read('train', 12_000)).toEqual({
    stage: 'train',
    tasksDone: 1,
    tasksTotal: 5,
    costDone: 400,
    costTotal: 1000,
    rate: NaN,
    secondsLeft: NaN,
  });
  meter.update('a', 50);
  meter.update('b', 100);
  meter.update('a', 100);
  // 200 in 4 s, 400 to go
  expect(meter.read('train', 14_000)).toMatchObject({ tasksDone: 1, costDone: 600, rate: 50, secondsLeft: 8 });
  meter.finish('a', 300);
  expect(meter.read('train', 20_000)).toMatchObject({ tasksDone: 2, costDone: 800, rate: 40, secondsLeft: 5 });
  meter.drop('b');
  expect(meter.read('fit', 20_000)).toMatchObject({ stage: 'fit', tasksDone: 2, costDone: 700, rate: 30, secondsLeft: 10 });
  meter.drop('never started');
  meter.finish('b', 300);
  expect(meter.read('fit', 20_000)).toMatchObject({ tasksDone: 3, costDone: 1000, secondsLeft: 0 });
});

test('a clock that stands still gives no infinite rate', () => {
  const meter = new ProgressMeter(10, 1, 5);
  meter.finish('a', 10);
  expect(meter.read('train', 5)).toMatchObject({ rate: 10_000, secondsLeft: 0 });
});

test('a run that was finished before has nothing left to wait for', () => {
  const meter = new ProgressMeter(10, 1, 0);
  meter.skip(10);
  expect(meter.read('train', 1000)).toMatchObject({ tasksDone: 1, costDone: 10, secondsLeft: 0 });
});

test('lines for people: at once, then at most one in a while, and one at the end', () => {
  const lines: string[] = [];
  let now = 0;
  const onProgress = progressLines(
    (line) => lines.push(line),
    2000,
    () => now,
  );
  const progress = { stage: 'train', tasksTotal: 4, costTotal: 100, rate: NaN };
  onProgress({ ...progress, tasksDone: 0, costDone: 0, secondsLeft: NaN });
  now = 1999;
  onProgress({ ...progress, tasksDone: 1, costDone: 30, secondsLeft: 7 });
  now = 2000;
  onProgress({ ...progress, tasksDone: 2, costDone: 55.9, secondsLeft: 3.2 });
  onProgress({ ...progress, tasksDone: 4, costDone: 100, secondsLeft: 0 });
  onProgress({ ...progress, tasksDone: 4, costDone: 100, secondsLeft: 0 });
  expect(lines).toEqual([
    'train: 0 of 4 tasks, 0 %',
    'train: 2 of 4 tasks, 55 %, about 4 s left',
    'train: 4 of 4 tasks, 100 %, about 0 s left',
  ]);
});
