/** Node.js that serves HTTP by itself: an image on one of Node.js. */
import { join } from 'node:path';
import { type Builder, NOBODY, type Product, type Work } from './builder.ts';
import { builderErrors } from './errors.ts';
import { type SourceFolder, tableOf } from './source-folder.ts';

const NODE_BASE = 'node:20-slim';
const LOCKS = ['package-lock.json', 'npm-shrinkwrap.json'];

export const node: Builder = {
  name: 'node',
  makes: 'image',
  takes: ['base', 'network'],
  looksFor: 'package.json with a start script, or server.js beside it',
  async detect(folder) {
    const manifest = await folder.table('package.json');
    if (manifest === null) return null;
    const { start } = tableOf(manifest.scripts);
    const said = typeof start === 'string' && start.trim() !== '' ? start.trim() : undefined;
    // What `npm start` does without a script.
    const script = said ?? ((await folder.has('server.js')) ? 'node server.js' : undefined);
    if (script === undefined) return null;
    const why = said === undefined ? 'package.json and server.js' : 'package.json has a start script';
    const packages = Object.keys({ ...tableOf(manifest.dependencies), ...tableOf(manifest.optionalDependencies) });
    return { why: `${why}: ${script}`, make: (work) => make(folder, script, packages.length > 0, work) };
  },
};

async function make(folder: SourceFolder, script: string, packages: boolean, work: Work): Promise<Product> {
  const lock = await folder.first(LOCKS);
  if (packages && lock === undefined) {
    throw builderErrors.PROJECT_INVALID(
      folder.at('package.json'),
      `it has dependencies, and there is no ${LOCKS[0]} that says which versions`,
      'make it with `npm install`; for another package manager write a Dockerfile',
    );
  }
  if (packages && !work.network) throw builderErrors.BUILD_NETWORK('npm ci --omit=dev');
  const context = join(work.scratch, 'context');
  await folder.copy(await folder.files(), context);
  const dockerfile = nodeDockerfile(script, packages ? (lock as string) : null, work.base);
  return { kind: 'image', dockerfile, context };
}

/** What is installed comes before the code. @param lock null: there are no packages */
function nodeDockerfile(script: string, lock: string | null, base: string = NODE_BASE): string {
  return [
    `FROM ${base}`,
    'ENV NODE_ENV=production',
    'WORKDIR /app',
    ...(lock === null
      ? []
      : [
          `COPY --chown=0:0 package.json ${lock} ./`,
          'RUN npm ci --omit=dev --no-audit --no-fund --cache /tmp/npm && rm -rf /tmp/npm',
        ]),
    'COPY --chown=0:0 . ./',
    `USER ${NOBODY}`,
    `CMD ${JSON.stringify(commandOf(script))}`,
    '',
  ].join('\n');
}

/** Without a shell in between, which would keep signals to itself, where the script needs none. */
function commandOf(script: string): string[] {
  if (/^node( [\w./=:@-]+)+$/.test(script)) return script.split(' ');
  return ['/bin/sh', '-c', `PATH="/app/node_modules/.bin:$PATH"; ${/[;&|]/.test(script) ? '' : 'exec '}${script}`];
}
