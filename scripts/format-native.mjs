// C++ and CUDA sources in the one format of .clang-format: says which are not, or with --write makes them so.
import { format } from '@wasm-fmt/clang-format';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const style = fs.readFileSync(path.join(root, '.clang-format'), 'utf8');
const write = process.argv.includes('--write');
const files = ['native', path.join('test', 'native')].flatMap((folder) =>
  fs
    .readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(h|cpp|cu)$/.test(file))
    .map((file) => path.join(folder, file)),
);
for (const file of files.sort()) {
  const text = fs.readFileSync(path.join(root, file), 'utf8');
  const formatted = format(text, file.replace(/\.cu$/, '.cpp'), style);
  if (formatted === text) continue;
  console.log(`${write ? 'formatted' : 'not formatted (npm run format)'}: ${file}`);
  if (write) fs.writeFileSync(path.join(root, file), formatted);
  else process.exitCode = 1;
}
