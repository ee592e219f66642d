// Compiles the TypeScript sources to dist/: one file an entry, npm packages left outside.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');

const entries = {
  daemon: 'daemon/main.ts',
  'jco-worker': 'runtime/drivers/wasm/jco/worker.ts',
  'jco-transpile-worker': 'runtime/drivers/wasm/jco/transpile-worker.ts',
  'componentize-child': 'images/build/javascript/componentize-child.ts',
};
const sourceFolders = ['cli', 'daemon', 'errors', 'gateway', 'images', 'native/host', 'runtime'];

/** A hash over every source, so that a build that would change nothing is left out. */
function sourcesHash() {
  const hash = createHash('sha256').update(readFileSync(fileURLToPath(import.meta.url)));
  for (const folder of sourceFolders) {
    const files = readdirSync(join(root, folder), { recursive: true, withFileTypes: true });
    const isSource = (file) => file.isFile() && (!folder.startsWith('native/') || file.name.endsWith('.ts'));
    const paths = files.filter(isSource).map((file) => join(file.parentPath, file.name));
    for (const path of paths.sort()) hash.update(path.slice(root.length)).update('\0').update(readFileSync(path));
  }
  return hash.digest('hex');
}

/** Returns true when something was built. */
export async function buildTs() {
  const stamp = join(dist, '.stamp');
  const hash = sourcesHash();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return false;
  const { build } = await import('esbuild');
  // Beside the old one and then in its place: a build that fails leaves what was there.
  const fresh = join(root, `dist.${process.pid}`);
  const common = {
    absWorkingDir: root,
    outdir: fresh,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: 'linked',
    logLevel: 'warning',
  };
  await build({ ...common, entryPoints: entries, chunkNames: 'chunks/[name]-[hash]', packages: 'external' });
  // The command is started by hand all day long: with its packages bundled it starts in half the time.
  await build({
    ...common,
    entryPoints: { cli: 'cli/main.ts' },
    chunkNames: 'chunks/cli-[name]-[hash]',
    external: ['esbuild', 'yaml'],
    minify: true,
    banner: {
      js: "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);",
    },
  });
  writeFileSync(join(fresh, '.stamp'), hash);
  rmSync(dist, { recursive: true, force: true });
  renameSync(fresh, dist);
  return true;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await buildTs();
