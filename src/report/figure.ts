import type { TopLevelSpec } from 'vega-lite';

/** A picture as data: everything needed to draw it, quote it and plot it again elsewhere. */
export interface Figure {
  /** File stem, e.g. "compute-klom". */
  name: string;
  title: string;
  /** Full sentences; says what a point, a line and a band are. */
  caption: string;
  /** Self-contained: the data are inside. */
  spec: TopLevelSpec;
  csv: string;
}

export const schema = 'https://vega.github.io/schema/vega-lite/v6.json';
