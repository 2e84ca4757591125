// What the README, docs/getting-started.md and docs/results.md say is run: its commands, the outputs it shows, its TypeScript. Prints them as JSON for the test;
// --write runs every command whose output is shown (a text block after a sh block) and puts what it prints in place of the old.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { root } from './stamp.mjs';

/** Other instruction sets round otherwise: the outputs in the README are those of this one. */
const isa = 'avx2';
/** What sets a fresh machine up; it has happened where this runs. */
const setUp = 'npm ci && ';

const file = path.join(root, 'README.md');
const readme = fs.readFileSync(file, 'utf8');
/** What else holds commands and TypeScript for readers. */
const pages = [
  readme,
  ...['getting-started', 'results'].map((name) => fs.readFileSync(path.join(root, 'docs', `${name}.md`), 'utf8')),
].join('\n');
const blocks = (language) => [...pages.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, text]) => text);
const shown = /(^```sh\n(.*)\n```\n\n```text\n)([\s\S]*?)(^```)/gm;

/** The whole standard output of the command, run in a folder of its own. */
function outputOf(command) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lethe-readme-'));
  for (const name of ['bin', 'plans']) fs.symlinkSync(path.join(root, name), path.join(folder, name));
  const { status, stdout } = spawnSync('sh', ['-c', command.replace(setUp, '')], {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, LETHE_DATA: '', LETHE_ISA: isa, NO_COLOR: '1' },
  });
  fs.rmSync(folder, { recursive: true });
  if (status !== 0) throw new Error(`"${command}" ended with ${status}`);
  return stdout;
}

if (process.argv.includes('--write')) {
  fs.writeFileSync(
    file,
    readme.replace(shown, (_, before, command, _old, after) => before + outputOf(command) + after),
  );
} else {
  const commands = blocks('sh').flatMap((text) => text.trim().split('\n'));
  const outputs = [...readme.matchAll(shown)].map(([, , command, text]) => ({ command, text }));
  console.log(JSON.stringify({ isa, setUp, commands, outputs, examples: blocks('ts') }));
}
