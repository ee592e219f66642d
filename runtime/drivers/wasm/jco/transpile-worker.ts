/** A thread that transpiles one component and ends: jco works for seconds on a large one and must not hold up the node. */
import { parentPort, workerData } from 'node:worker_threads';
import { transpile } from '@bytecodealliance/jco';
import { inspectComponent, unofferedImports } from '../../../../images/wasm/component.ts';
import { componentShape } from '../../../../images/wasm/component-shape.ts';
import { OFFERED_IMPORTS } from '../offer.ts';
import { asScript } from './glue.ts';
import { guard } from './glue-guards.ts';
import { slim } from './glue-slim.ts';
import type { Refusal, Transpiled, TranspileReply } from './transpiled.ts';
import { imports as offered } from './wasi/imports.ts';
import { instrumentAll } from './wasm-instrument.ts';

class Refused extends Error {
  readonly refusal: Refusal;
  constructor(refusal: Refusal) {
    super(refusal.code);
    this.refusal = refusal;
  }
}

/** Names in core modules end up in the generated code. jco escapes them; these need no escaping. */
const plainName = /^[ !#-&(-[\]-_a-~]*$/;

async function run(component: Uint8Array): Promise<Transpiled> {
  checkSurface(component);
  const { files, imports } = await generate(component);
  const code = new TextDecoder().decode(files['component.js']);
  // jco marks what needs stack switching, which this Node.js does not have.
  if (/\bisAsync: true\b|\bfuncTypeIsAsync: true\b/.test(code)) throw new Refused({ code: 'ENGINE_LACKS_P3' });
  checkImports(code, imports);
  const cores = Object.entries(files).filter(([name]) => name.endsWith('.wasm'));
  for (const [, bytes] of cores) checkNames(bytes);
  const own = componentShape(component)?.modules ?? [];
  const places = cores.map(([, bytes]) => own.findIndex((module) => Buffer.compare(module.bytes, bytes) === 0));
  const instrumented = instrumentAll(
    cores.map(([, bytes], i) => ({ bytes, detach: places[i] !== -1 && own[places[i]!]!.memory !== null })),
  );
  const modules = instrumented.map(({ bytes, memory, detached }, i) => {
    const name = cores[i]![0];
    return { name, bytes, instances: countInstances(code, name), memory, place: detached ? places[i]! : null };
  });
  const apart = new Set(modules.map((module) => module.place));
  const shared = own.every(({ data, memory }, i) => apart.has(i) || (data === null && memory === null));
  return { glue: asScript(guard(slim(code).code)), modules, shared };
}

function checkSurface(component: Uint8Array): void {
  const found = inspectComponent(component, 'component');
  if (!found.ok) {
    if (found.problem === 'not-wasm') throw new Refused({ code: 'NOT_WASM' });
    if (found.problem === 'core-module') throw new Refused({ code: 'CORE_MODULE' });
    throw new Refused({ code: 'COMPONENT_INVALID', why: found.why });
  }
  const { imports, exports, handler } = found.info;
  const p3 = /^wasi:[a-z-]+\/[a-z-]+@0\.3\./;
  if ([...imports, ...exports].some((name) => p3.test(name))) throw new Refused({ code: 'ENGINE_LACKS_P3' });
  const missing = unofferedImports(found.info, OFFERED_IMPORTS);
  if (missing.length > 0) throw new Refused({ code: 'IMPORT_NOT_OFFERED', why: missing.map(printable).join(', ') });
  if (handler !== 'p2') throw new Refused({ code: 'NO_HTTP_HANDLER' });
}

function printable(name: string): string {
  return JSON.stringify(name).slice(1, -1).slice(0, 200);
}

/** Shims that are for one version alone: jco leaves the version out of a name unless it is told otherwise. */
const versioned = Object.fromEntries(
  Object.keys(offered)
    .filter((name) => name.includes('@'))
    .map((name) => [name, name]),
);

async function generate(component: Uint8Array) {
  try {
    return await transpile(component, {
      name: 'component',
      instantiation: 'sync',
      base64Cutoff: 0,
      nodejsCompat: false,
      map: versioned,
    });
  } catch (error) {
    const text = error instanceof Error ? error.message : String((error as { payload?: unknown })?.payload ?? error);
    throw new Refused({ code: 'COMPONENT_INVALID', why: text.split('\n', 1)[0]!.slice(0, 512) });
  }
}

/** Each item that the code takes from an import must be there: a newer interface may have one more function. */
function checkImports(code: string, names: readonly string[]): void {
  const missing = names.filter((name) => !Object.hasOwn(offered, name));
  for (const [, items, name] of code.matchAll(/^ *const \{ ([^}]*) \} = imports\['([^']*)'\];$/gm)) {
    for (const item of items!.split(', ')) {
      const key = item.split(':', 1)[0]!.trim();
      if (!Object.hasOwn(offered[name!] ?? {}, key)) missing.push(`${name}#${key}`);
    }
  }
  if (missing.length > 0) throw new Refused({ code: 'IMPORT_NOT_OFFERED', why: missing.map(printable).join(', ') });
}

/** `const moduleN = getCoreModule('NAME')` and each `instantiateCore(moduleN`. */
function countInstances(code: string, name: string): number {
  const declared = [...code.matchAll(/^ *const (module\d+) = getCoreModule\('([^']*)'\);$/gm)].find(
    (m) => m[2] === name,
  );
  if (!declared) throw new Error(`no core module ${name} in the generated code`);
  return [...code.matchAll(/\binstantiateCore\((module\d+)\b/g)].filter((match) => match[1] === declared[1]).length;
}

function checkNames(bytes: Uint8Array): void {
  let module: WebAssembly.Module;
  try {
    module = new WebAssembly.Module(bytes);
  } catch (error) {
    throw new Refused({ code: 'COMPONENT_INVALID', why: (error as Error).message.split('\n', 1)[0]! });
  }
  for (const { module: from, name } of [...WebAssembly.Module.imports(module), ...WebAssembly.Module.exports(module)]) {
    for (const text of [from ?? '', name]) {
      if (plainName.test(text) && !text.includes('*/')) continue;
      throw new Refused({ code: 'COMPONENT_INVALID', why: `a core module has the name "${printable(text)}"` });
    }
  }
}

async function reply(): Promise<TranspileReply> {
  try {
    return { kind: 'transpiled', transpiled: await run(workerData as Uint8Array) };
  } catch (error) {
    if (error instanceof Refused) return { kind: 'refused', refusal: error.refusal };
    return { kind: 'failed', message: String((error as Error)?.stack ?? error) };
  }
}

parentPort!.postMessage(await reply());
