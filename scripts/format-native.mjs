// C++ and CUDA in the style of .clang-format: names the files that are not, exit code 1; --write puts them right.
import fs from 'node:fs';
import path from 'node:path';
import { format } from '@wasm-fmt/clang-format';
import { filesUnder, root } from './stamp.mjs';

const style = fs.readFileSync(path.join(root, '.clang-format'), 'utf8');
for (const file of filesUnder(root, ['native', 'test/native']).filter((name) => /\.(h|cpp|cu)$/.test(name))) {
  const text = fs.readFileSync(path.join(root, file), 'utf8');
  // the language is known by the name
  const formatted = format(text, file.replace(/\.cu$/, '.cpp'), style);
  if (formatted === text) continue;
  if (process.argv.includes('--write')) {
    fs.writeFileSync(path.join(root, file), formatted);
  } else {
    console.log(`${file} is not in the style of .clang-format`);
    process.exitCode = 1;
  }
}
