/** From a TypeScript or JavaScript file to the one module that a node builds a component from. */
import { stat } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { basename, dirname, relative, resolve } from 'node:path';
import { type BuildFailure, build, type Message, type Plugin } from 'esbuild';
import { SkerryError } from '../errors/skerry-error.ts';
import { cliErrors } from './errors.ts';
import { BUNDLE, BundleMap } from './source-map.ts';

export interface Bundle {
  /** One ES module; the same bytes on every machine that has the same files. */
  readonly source: string;
  /** Source map (ECMA-426) of it, without the text of its sources, whose paths are from the entry's folder. */
  readonly map: string;
  /** Every file that went into it, as paths from the current folder, or absolute where they are outside of it. */
  readonly inputs: readonly string[];
  /** An error of the node about `source`, with its place in the user's own files; any other error as it is. */
  explain(error: unknown): unknown;
}

/** What packages call a runtime like this one: web APIs, no Node.js. */
const conditions = ['workerd', 'worker', 'browser'];
const builtins = new Set(builtinModules);
/** The bundler's words for what the system does not let it read; the path is from the entry's folder. */
const unreadableFile = /^Cannot read file "(.+)": (.+)$/;
const placeInBundle = /^function\.js:(\d+):(\d+): (.*)$/s;

/**
 * Bundles `entry` with all that it imports. Throws SOURCE_NOT_FOUND, UNREADABLE for a file that is there but cannot be
 * read, SOURCE_NO_HANDLER where that shows already, and SOURCE_ERROR, whose line begins `FILE:LINE:COLUMN:`.
 * @param current the folder that `entry` is relative to, and all paths told of files in it
 */
export async function bundleSource(entry: string, current: string = process.cwd()): Promise<Bundle> {
  const path = resolve(current, entry);
  await stat(path).catch((error) => {
    throw cliErrors.SOURCE_NOT_FOUND(entry).because(error);
  });
  // Paths in the output are relative to the entry's folder: nothing of the machine's own gets in.
  const folder = dirname(path);
  const fromHere = (file: string) => pathFrom(current, resolve(folder, file));
  const result = await build({
    absWorkingDir: folder,
    entryPoints: [`./${basename(entry)}`],
    outfile: BUNDLE,
    write: false,
    bundle: true,
    metafile: true,
    sourcemap: 'external',
    sourcesContent: false,
    platform: 'neutral',
    format: 'esm',
    target: 'es2022',
    conditions,
    mainFields: ['workerd', 'browser', 'module', 'main'],
    define: { 'process.env.NODE_ENV': '"production"' },
    external: ['wasi:*'],
    plugins: [refuseNodeModules],
    charset: 'utf8',
    legalComments: 'none',
    logLevel: 'silent',
  }).catch((error: BuildFailure) => {
    throw sourceError(error, fromHere);
  });
  const text = (ending: string) => result.outputFiles.find(({ path }) => path.endsWith(ending))?.text ?? '';
  const source = text('.js');
  const exports = Object.values(result.metafile.outputs).flatMap((output) => output.exports);
  // Behind a `throw` at the top level the bundler drops what is never reached, an export too: the node tells what was thrown.
  const serves = exports.includes('default') || source.includes('addEventListener') || /\bthrow\b/.test(source);
  if (!serves) throw cliErrors.SOURCE_NO_HANDLER(entry);
  const map = text('.map');
  return {
    source,
    map,
    inputs: Object.keys(result.metafile.inputs).map(fromHere),
    explain: (error) => explain(error, map, fromHere),
  };
}

/** How a person there would call the file: no way up and down again to one that lies elsewhere. */
function pathFrom(current: string, file: string): string {
  const path = relative(current, file);
  return /^\.\.(?:\/|$)/.test(path) ? file : path;
}

/**
 * `node:` modules have no stand-in. A bare `fs` may be a package of that name, so those are refused only when none is
 * found (`problemOf`).
 */
const refuseNodeModules: Plugin = {
  name: 'refuse-node-modules',
  setup(builder) {
    builder.onResolve({ filter: /^node:/ }, ({ path }) => ({ errors: [{ text: noNodeModule(path) }] }));
  },
};

function noNodeModule(name: string): string {
  return `"${name}" is a module of Node.js, which a function does not have; use web APIs (fetch, crypto, URL, streams) or a package built on them`;
}

function sourceError(failure: BuildFailure, fromHere: (file: string) => string): unknown {
  const [first, ...more] = failure.errors ?? [];
  if (first === undefined) return failure; // not about the source: a fault of the bundler or of its installation
  // What is wrong with a file, not with what it says: no change of the source would help.
  const [, path, why] = unreadableFile.exec(first.text) ?? [];
  if (path !== undefined && why !== undefined) return cliErrors.UNREADABLE(fromHere(path), why).because(failure);
  const problem = problemOf(first) + (more.length > 0 ? ` (and ${more.length} more)` : '');
  return first.location
    ? cliErrors.SOURCE_ERROR(
        `${fromHere(first.location.file)}:${first.location.line}:${columnOf(first.location)}`,
        problem,
      )
    : cliErrors.SOURCE_ERROR('', problem);
}

function problemOf({ text }: Message): string {
  const missing = /^Could not resolve "([^"]+)"/.exec(text)?.[1];
  if (missing === undefined) return text;
  if (builtins.has(missing)) return noNodeModule(missing);
  const isFile = /^[./]/.test(missing);
  return isFile
    ? `there is no file "${missing}"`
    : `the package "${missing}" is not installed (npm install ${packageOf(missing)})`;
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** 1-based and in characters; esbuild counts bytes from 0. */
function columnOf({ lineText, column }: { lineText: string; column: number }): number {
  return Buffer.from(lineText).subarray(0, column).toString().length + 1;
}

function explain(error: unknown, map: string, fromHere: (file: string) => string): unknown {
  if (!(error instanceof SkerryError)) return error;
  const [, line, column, problem] = placeInBundle.exec(error.what) ?? [];
  if (problem === undefined) return error;
  const found = new BundleMap(map).place(Number(line), Number(column));
  if (!found) return error;
  return cliErrors.SOURCE_ERROR(`${fromHere(found.file)}:${found.line}:${found.column}`, problem).because(error);
}
