/** The report of a plan as a task. */
import type { Stage } from '../jobs/task.js';
import { layout } from '../store/folders/layout.js';
import { reportPage } from './reportPage.js';

/** One self-contained page and, beside it, SVG, vega-lite spec and CSV of every figure. */
export function reportStage(): Stage {
  const page = layout.report(reportPage);
  return {
    name: 'report',
    tasks: [
      {
        id: page,
        label: 'report',
        // which figures there are depends on the data; the page is published last and stands for all
        artefacts: [page],
        cost: 0,
        models: 0,
        bytes: 2_000_000,
        async produce({ run, plan, dataset, engine }) {
          // stages are also listed by commands that draw nothing
          const { buildReport } = await import('./index.js');
          const { collectReport } = await import('./collect.js');
          const { files } = await buildReport(await collectReport(run, plan, dataset, engine));
          const sorted = [...files].sort((a, b) => Number(a.path === reportPage) - Number(b.path === reportPage));
          return sorted.map(({ path, content }) => ({ path: layout.report(path), content: Buffer.from(content) }));
        },
      },
    ],
  };
}
