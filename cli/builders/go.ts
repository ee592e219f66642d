/** Go: one program without a C library, compiled here, alone in an image. */
import { chmod, realpath } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { type Builder, oneProgram, type Product, type Work } from './builder.ts';
import { builderErrors } from './errors.ts';
import type { SourceFolder } from './source-folder.ts';
import { runTool, type Tool } from './toolchain.ts';

const TOOL: Tool = {
  command: 'go',
  builder: 'go',
  install: 'install Go from https://go.dev/dl or the packages of the system (golang-go)',
};

export const go: Builder = {
  name: 'go',
  makes: 'image',
  looksFor: 'go.mod',
  async detect(folder) {
    const module = /^module\s+(\S+)/m.exec((await folder.text('go.mod')) ?? '')?.[1];
    if (module === undefined) return null;
    return { why: `go.mod is of module ${module}`, make: (work) => make(folder, work) };
  },
};

async function make(folder: SourceFolder, work: Work): Promise<Product> {
  const at = await mainPackage(folder, work);
  work.step(`Compiling ${at} with Go`);
  // Nothing of the machine gets in: no paths, no state of the repository, no build id.
  const same = ['-trimpath', '-buildvcs=false', '-ldflags=-s -w -buildid='];
  const env = { CGO_ENABLED: '0', GOOS: 'linux' };
  await runTool(TOOL, ['build', ...same, '-o', join(work.scratch, 'app'), at], folder.path, work, env);
  await chmod(join(work.scratch, 'app'), 0o755);
  return oneProgram(work.scratch);
}

/** The folder's own package, else the one below `cmd/`. */
async function mainPackage(folder: SourceFolder, work: Work): Promise<string> {
  const listed = await runTool(TOOL, ['list', '-e', '-f', '{{.Name}} {{.Dir}}', '.', './cmd/...'], folder.path, work, {
    CGO_ENABLED: '0',
    GOOS: 'linux',
  });
  const mains = listed
    .split('\n')
    .filter((line) => line.startsWith('main '))
    .map((line) => line.slice('main '.length));
  const [first, ...more] = mains;
  const root = await realpath(resolve(folder.path));
  if (first !== undefined && (first === root || more.length === 0)) return `./${relative(root, first)}`;
  const found = mains.map((path) => `./${relative(root, path)}`).join(', ');
  throw builderErrors.PROJECT_INVALID(
    folder.at('go.mod'),
    first === undefined ? 'the module has no package main, here or below cmd/' : `could be any of ${found}`,
    'deploy a folder with one package main, or write a Dockerfile',
  );
}
