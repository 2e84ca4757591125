#!/usr/bin/env node
/** The entry of the command line. */
import { answerSignals } from './signals.js';

answerSignals();
const { runCommandLine } = await import('./program.js');
await runCommandLine(process.argv.slice(2));
