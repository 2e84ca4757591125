/** Rows of outputs, in words. */
import { listed } from '../report/format.js';

const mostNamed = 20;

/** "rows 3 and 17 of the outputs" */
export function namedRows(rows: readonly number[]): string {
  const more = rows.length > mostNamed ? [`${rows.length - mostNamed} more`] : [];
  return `row${rows.length === 1 ? '' : 's'} ${listed([...rows.slice(0, mostNamed).map(String), ...more])} of the outputs`;
}
