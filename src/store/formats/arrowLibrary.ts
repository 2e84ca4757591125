/** The apache-arrow package, which writes Arrow files: loaded where one is written, as it takes longer to start than most commands. */
import { createRequire } from 'node:module';

type ArrowLibrary = typeof import('apache-arrow');

let loaded: ArrowLibrary | undefined;

export function arrowLibrary(): ArrowLibrary {
  return (loaded ??= createRequire(import.meta.url)('apache-arrow') as ArrowLibrary);
}
