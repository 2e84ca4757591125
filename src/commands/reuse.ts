/** lethe run PLAN --reuse RUN: opens the earlier run and says what of it a changed plan can take over. */
import { resolveForgetSet } from '../data/forgetSets.js';
import { engineIdentity } from '../engines/index.js';
import { LetheError } from '../errors.js';
import { findReusable, type Reusable, type Watch } from '../jobs/reuse.js';
import type { Stage } from '../jobs/task.js';
import { expandStages } from '../pipeline.js';
import { sha256 } from '../store/disk/files.js';
import { readIdentity, requireMeaning } from '../store/folders/identity.js';
import { layout } from '../store/folders/layout.js';
import { decodeIndices } from '../store/contents/npyArtefact.js';
import { differenceText } from '../store/folders/planIdentity.js';
import type { RunFolder } from '../store/folders/run.js';
import type { ForgetSetSpec, Plan } from '../types.js';
import { type Session, type SessionOptions, viewRun } from './session.js';

export interface Reuse {
  run: RunFolder;
  /** `into`: the folder of the changed plan, when there is one. What it has resolved already holds, whatever index files say today. */
  reusable: (into?: RunFolder, watch?: Watch) => Promise<Reusable[]>;
}

/**
 * `session`: of the changed plan.
 * @throws LETHE_RUN_MISSING, LETHE_RUN_VERSION, LETHE_REUSE_FOREIGN (exit code 2): other data or another engine give other numbers everywhere
 */
export async function openReuse(root: string, session: Session, options: Pick<SessionOptions, 'data' | 'note'> = {}): Promise<Reuse> {
  const before = await viewRun(root, options);
  const { plan, dataset, engine, planFolder } = session;
  const theirs = await readIdentity(before.run);
  requireMeaning(before.run.root, theirs);
  const difference = differenceText(theirs.facts, { dataset: dataset.sha256, ...engineIdentity(engine) }, 'there');
  if (difference !== undefined) {
    throw new LetheError('LETHE_REUSE_FOREIGN', `nothing of ${before.run.root} can be taken over`, {
      expected: 'a run of the same data, engine, precision and kind of processor',
      received: difference,
      action: 'Use the same --data, --engine, --precision and --device (LETHE_ISA caps the instruction set), or leave --reuse out.',
    });
  }
  return {
    run: before.run,
    reusable: async (into, watch) => {
      const today = async (spec: ForgetSetSpec): Promise<Int32Array> =>
        (await resolveForgetSet(spec, { numTrain: dataset.numTrain, planFolder })).indices;
      const ours = await withContents(plan, async (spec) => (await resolvedIn(into, spec)) ?? (await today(spec)));
      const old = await withContents(before.plan, (spec) => resolvedIn(before.run, spec));
      // only what tasks make of what is compared, not how much
      const [stages, earlier] = [ours, old].map((resolved) => expandStages(resolved, dataset, 0)) as [Stage[], Stage[]];
      return findReusable(stages, { run: before.run, stages: earlier }, watch);
    },
  };
}

async function resolvedIn(run: RunFolder | undefined, { name }: ForgetSetSpec): Promise<Int32Array | undefined> {
  const file = layout.forgetSet(name);
  return run && (await run.isDone(file)) ? decodeIndices(await run.read(file)) : undefined;
}

/** The plan with index files known by their content: another one may lie at the same path today. */
async function withContents(plan: Plan, read: (spec: ForgetSetSpec) => Promise<Int32Array | undefined>): Promise<Plan> {
  const forgetSets = plan.forgetSets.map(async (spec): Promise<ForgetSetSpec> => {
    const indices = spec.kind === 'file' ? await read(spec) : undefined;
    return indices ? { name: spec.name, kind: 'file', path: sha256(indices) } : spec;
  });
  return { ...plan, forgetSets: await Promise.all(forgetSets) };
}
