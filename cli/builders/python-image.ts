/** Python that serves HTTP by itself: an image on one of Python's. */
import { join } from 'node:path';
import { type Builder, NOBODY, type Product, type Work } from './builder.ts';
import { builderErrors } from './errors.ts';
import { PROJECTS } from './python.ts';
import { leftOutOfBuilds, type SourceFolder } from './source-folder.ts';

const PYTHON_BASE = 'python:3.13-slim';
const MODULES = ['main.py', 'app.py', 'server.py', 'wsgi.py'];

export const pythonImage: Builder = {
  name: 'python-image',
  makes: 'image',
  takes: ['base', 'network'],
  looksFor: `${PROJECTS.join(' or ')} with ${MODULES.join(', ')}`,
  async detect(folder) {
    const project = await folder.first(PROJECTS);
    const main = await folder.first(MODULES);
    if (project === undefined || main === undefined) return null;
    return { why: `${project} and ${main}, which serves HTTP by itself`, make: (work) => make(folder, main, work) };
  },
};

async function make(folder: SourceFolder, main: string, work: Work): Promise<Product> {
  const packages = /^\s*[^#\s]/m.test((await folder.text('requirements.txt')) ?? '');
  if (packages && !work.network) throw builderErrors.BUILD_NETWORK('pip install -r requirements.txt');
  const context = join(work.scratch, 'context');
  await folder.copy(await folder.files('.', leftOutOfBuilds), context);
  return { kind: 'image', dockerfile: pythonDockerfile(main, packages, work.base), context };
}

/** What is installed comes before the code. */
function pythonDockerfile(main: string, packages: boolean, base: string = PYTHON_BASE): string {
  const install =
    'RUN python3 -m pip install --no-cache-dir --no-compile --disable-pip-version-check -r requirements.txt';
  return [
    `FROM ${base}`,
    'ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1',
    'WORKDIR /app',
    ...(packages ? ['COPY --chown=0:0 requirements.txt ./', install] : []),
    'COPY --chown=0:0 . ./',
    `USER ${NOBODY}`,
    `CMD ${JSON.stringify(['python3', main])}`,
    '',
  ].join('\n');
}
