// Tells whether a build is current, by the contents of what went in and what came out: times say nothing in a copied checkout.
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
export const { dependencies, devDependencies } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));

/** Files at or under the given ones, as paths relative to `folder`, sorted; what does not exist is left out. */
export function filesUnder(folder, names) {
  return names
    .flatMap((name) => {
      const stat = fs.statSync(path.join(folder, name), { throwIfNoEntry: false });
      if (!stat?.isDirectory()) return stat ? [name] : [];
      return filesUnder(
        folder,
        fs.readdirSync(path.join(folder, name)).map((entry) => path.join(name, entry)),
      );
    })
    .sort();
}

/** sha256 of names and contents, and of `facts`. */
export function digest(names, facts = {}) {
  const hash = createHash('sha256').update(JSON.stringify(facts));
  for (const file of filesUnder(root, names)) {
    const bytes = fs.readFileSync(path.join(root, file));
    hash.update(`\n${file} ${bytes.length}\n`).update(bytes);
  }
  return hash.digest('hex');
}

const stampFile = (name) => path.join(root, 'build', 'stamps', `${name}.json`);

/** True when the build `name` made `outputs` of `inputs`, and they are as it left them. */
export function isCurrent(name, inputs, outputs) {
  if (!outputs.every((output) => fs.existsSync(path.join(root, output)))) return false;
  try {
    const stamp = JSON.parse(fs.readFileSync(stampFile(name), 'utf8'));
    return stamp.inputs === inputs && stamp.outputs === digest(outputs);
  } catch {
    return false; // no stamp, or a broken one
  }
}

export function writeStamp(name, inputs, outputs) {
  publish(stampFile(name), JSON.stringify({ inputs, outputs: digest(outputs) }));
}

/** The file is the old one or the new one at any moment. */
export function publish(file, content, mode = 0o644) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  fs.writeFileSync(temporary, content);
  fs.chmodSync(temporary, mode);
  fs.renameSync(temporary, file);
}
