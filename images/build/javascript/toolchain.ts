/** Where the parts of the toolchain lie, and the key that tells one toolchain from another. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../../../errors/project-root.ts';

const modules = join(projectRoot, 'node_modules');
const guestFolder = join(projectRoot, 'images', 'build', 'javascript', 'guest');
/** What the engines of this node link beside WASI: the same texts that the native one is built with. */
const witFolder = join(projectRoot, 'native', 'wasm', 'wit', 'deps');

/** Raise it when what this folder makes of the same source changes in another way than by the files it digests. */
const layout = 2;

/** The engine (StarlingMonkey) speaks this version of WASI; jco ships the interfaces in a later, compatible one. */
const wasiOfEngine = '0.2.10';
const wasiOfJco = '0.2.12';

/** Of componentize-js: clocks, random numbers and output are granted, outgoing and incoming HTTP too. */
export const features = ['stdio', 'random', 'clocks', 'http', 'fetch-event'];
export const worldName = 'function';

export const componentizeFolder = join(modules, '@bytecodealliance', 'componentize-js');
export const jcoFolder = join(modules, '@bytecodealliance', 'jco');

/** Package → its folder and the files of the interfaces that function.wit imports. */
const services = {
  'wasi:config@0.2.0-rc.1': ['config-0.2.0-rc.1', 'store.wit'],
  'wasi:keyvalue@0.2.0-draft2': ['keyvalue-0.2.0-draft2', 'store.wit', 'atomic.wit', 'batch.wit'],
  'wasi:logging@0.1.0-draft': ['logging-0.1.0-draft', 'logging.wit'],
} as const;

function versionOf(folder: string): string {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version;
}

export const componentizeVersion: string = versionOf(componentizeFolder);

function guestFile(name: string): string {
  return readFileSync(join(guestFolder, name), 'utf8');
}

/** Module name → text of what runs around the function inside the sandbox. */
export const guestModules: Readonly<Record<string, string>> = Object.fromEntries(
  ['realm.js', 'failure.js', 'bodies.js', 'prelude.js', 'fetch.js', 'top-level.js', 'entry.js'].map((name) => [
    name,
    guestFile(name),
  ]),
);

/**
 * The world as one WIT text: the splicer can then resolve it without reading files, which it cannot on Node.js 20
 * (its WASI shim is given no folders).
 */
export const worldText: string = [guestFile('function.wit'), ...wasiPackages(), ...servicePackages()].join('\n');

function wasiPackages(): string[] {
  const folder = join(jcoFolder, 'lib', 'wit', 'builtin', wasiOfJco);
  return readdirSync(folder)
    .sort()
    .map((name) => readFileSync(join(folder, name, 'package.wit'), 'utf8').replaceAll(wasiOfJco, wasiOfEngine))
    .map((text) => text.replace(/^package ([^;]+);/m, 'package $1 {').concat('\n}\n'));
}

function servicePackages(): string[] {
  return Object.entries(services).map(([name, [folder, ...files]]) => {
    const interfaces = files.map((file) => readFileSync(join(witFolder, folder, file), 'utf8'));
    return `package ${name} {\n${interfaces.join('\n')}\n}\n`;
  });
}

function keyOf(...parts: unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** Changes whenever the spliced engine could come out as another one. */
export const engineKey: string = keyOf(
  layout,
  componentizeVersion,
  versionOf(jcoFolder),
  versionOf(join(modules, '@bytecodealliance', 'wizer')),
  features,
  worldText,
);

/** Changes whenever the same source could come out as another component. */
export const toolchainKey: string = keyOf(engineKey, guestModules);
