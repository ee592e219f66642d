/** Python: a component with CPython in it, by componentize-py. */
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { projectRoot } from '../../errors/project-root.ts';
import type { Builder, Product, Work } from './builder.ts';
import { leftOutOfBuilds, type SourceFolder } from './source-folder.ts';
import { runTool, type Tool } from './toolchain.ts';

const INSTALL =
  'pip install componentize-py, into the `.venv` of the folder or onto the PATH; or use --builder python-image';
/** The world `http`, which the documentation builds against. */
const WIT = join(projectRoot, 'examples', 'wit');

export const PROJECTS = ['pyproject.toml', 'requirements.txt'];
const MODULES = ['app.py', 'main.py'];
/** What componentize-py looks for in the module. */
const HANDLER = /^class\s+IncomingHandler\b/m;

export const python: Builder = {
  name: 'python',
  makes: 'component',
  looksFor: `${MODULES.join(' or ')} with a class IncomingHandler`,
  async detect(folder) {
    for (const file of MODULES) {
      if (!HANDLER.test((await folder.text(file)) ?? '')) continue;
      return { why: `${file} has a class IncomingHandler`, make: (work) => make(folder, file, work) };
    }
    return null;
  },
};

async function make(folder: SourceFolder, file: string, work: Work): Promise<Product> {
  const paths = ['.'];
  if ((await folder.text('requirements.txt'))?.match(/^\s*[^#\s]/m)) {
    work.step('Getting the packages of requirements.txt');
    const packages = join(work.scratch, 'packages');
    await mkdir(packages);
    const pip: Tool = { command: 'python3', builder: 'python', install: 'install Python 3.10 or newer' };
    const quiet = ['--quiet', '--disable-pip-version-check', '--no-compile', '--target', packages];
    await runTool(pip, ['-m', 'pip', 'install', ...quiet, '-r', 'requirements.txt'], folder.path, work);
    paths.push(packages);
  }
  work.step(`Building ${folder.at(file)} with componentize-py`);
  const output = join(work.scratch, 'function.wasm');
  const own = '.venv/bin/componentize-py';
  const command = (await folder.has(own)) ? resolve(folder.path, own) : 'componentize-py';
  const args = [
    ...['--wit-path', WIT, '--world', 'http', 'componentize', file.replace(/\.py$/, '')],
    ...paths.flatMap((path) => ['--python-path', path]),
    ...['-o', output],
  ];
  // It writes what it compiled beside the source, and takes what it finds there.
  const source = join(work.scratch, 'source');
  await folder.copy(await folder.files('.', leftOutOfBuilds), source);
  await runTool({ command, builder: 'python', install: INSTALL }, args, source, work);
  return { kind: 'component', file: output };
}
