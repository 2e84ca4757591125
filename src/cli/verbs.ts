/** All verbs, in the order of the help. A verb's module, and what it imports, is loaded when that verb is called. */
import type { Command } from './common.js';

export interface Verb {
  /** The line in the list of verbs; absent: not listed. */
  summary?: string;
  /** Libraries of many files. They are loaded first, one by one: all modules at once would open more files than a small limit allows. */
  libraries?: readonly string[];
  /** Gives what adds this one verb to the program. */
  load: () => Promise<(program: Command) => void>;
}

export const verbs: Record<string, Verb> = {
  quickstart: {
    summary: 'data, models, datamodels, unlearning, KLOM table and report in about a minute',
    libraries: ['zod'],
    load: async () => (await import('./quickstart.js')).registerQuickstart,
  },
  run: {
    summary: 'run an experiment; the same command resumes it',
    libraries: ['zod'],
    load: async () => (await import('./run.js')).registerRun,
  },
  status: {
    summary: 'what is done and what is left of a run',
    load: async () => (await import('./status.js')).registerStatus,
  },
  verify: { summary: 'check every byte of a run against its manifest', load: async () => (await import('./verify.js')).registerVerify },
  worker: { libraries: ['zod'], load: async () => (await import('./worker.js')).registerWorker },
  report: {
    summary: 'write the report of a run: page, figures, tables',
    load: async () => {
      const [{ registerReport }, { collectRunReport }] = await Promise.all([import('./report.js'), import('./runReport.js')]);
      return (program) => {
        registerReport(program, collectRunReport);
      };
    },
  },
  train: {
    summary: 'train models from scratch: checkpoints, logits, margins',
    libraries: ['zod'],
    load: async () => (await import('./train.js')).registerTrain,
  },
  fit: { summary: 'datamodels of masks and outputs in files', load: async () => (await import('./fit.js')).registerFit },
  unlearn: {
    summary: 'unlearn a forget set in the originals of a run, or in a model given as a file',
    libraries: ['zod'],
    load: async () => (await import('./unlearn.js')).registerUnlearn,
  },
  simulate: {
    summary: 'targets of datamodel matching for models that are fine-tuned elsewhere',
    load: async () => (await import('./simulate.js')).registerSimulate,
  },
  margins: { summary: 'margins of logits in files', load: async () => (await import('./simulate.js')).registerMargins },
  evaluate: {
    summary: 'KLOM, LDS and accuracy of .npy files',
    load: async () => (await import('./evaluate.js')).registerEvaluate,
  },
  export: {
    summary: 'models and results for other programs',
    load: async () => (await import('./export.js')).registerExport,
  },
  study: { summary: 'experiments of the paper outside of networks', load: async () => (await import('./study.js')).registerStudy },
  data: {
    summary: 'look at data directories, fetch data sets',
    libraries: ['zod'],
    load: async () => (await import('./data.js')).registerData,
  },
  bench: { summary: 'benchmarks, against peers too', libraries: ['zod'], load: async () => (await import('./bench.js')).registerBench },
  doctor: {
    summary: 'check this machine: Node, addon, instruction sets, threads, memory, GPU, disk, data',
    libraries: ['zod'],
    load: async () => (await import('./doctor.js')).registerDoctor,
  },
};
