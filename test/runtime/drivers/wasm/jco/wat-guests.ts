/** Components written as text for one test each, around a handler that is a core function. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from '@bytecodealliance/jco';
import { SkerryError } from '../../../../../errors/skerry-error.ts';
import type { ComponentFile, WasmEngine, WasmFunction } from '../../../../../runtime/drivers/wasm/engine.ts';
import { openJcoEngine } from '../../../../../runtime/drivers/wasm/jco/index.ts';
import { makeExchange } from '../../../../support/exchange.ts';
import { noServices } from '../../../../support/services.ts';

/** Exports the core function `handle` of `$i` as the HTTP handler. `$types` is an instance of wasi:http/types. */
const handlerOf = (name: string) => `
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (func $handle (param "request" (own $request)) (param "response-out" (own $out))
    (canon lift (core func $i "${name}")))
  (component $wrap
    (import "request" (type $request (sub resource)))
    (import "out" (type $out (sub resource)))
    (import "handle" (func $handle (param "request" (own $request)) (param "response-out" (own $out))))
    (export $exported-request "incoming-request" (type $request))
    (export $exported-out "response-outparam" (type $out))
    (export "handle" (func $handle)
      (func (param "request" (own $exported-request)) (param "response-out" (own $exported-out)))))
  (instance $handler (instantiate $wrap
    (with "request" (type $request)) (with "out" (type $out)) (with "handle" (func $handle))))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler))`;

const types = `
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))`;

/** A component whose own core module `$m` is given, what its handler is called, and how `$m` is instantiated. */
export function plainGuest(module: string, handler = 'handle', instance = '(instantiate $m)'): Promise<Uint8Array> {
  return parse(`(component ${module} (core instance $i ${instance}) ${types} ${handlerOf(handler)})`);
}

const memory = `
  (core module $mem (memory (export "m") 1000)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $mem (instantiate $mem))`;
const canonical = '(memory (core memory $mem "m")) (realloc (core func $mem "realloc"))';

/** Polls a list of 16 million times the same pollable. */
export function longPollGuest(): Promise<Uint8Array> {
  return parse(`(component
    (import "wasi:io/poll@0.2.0" (instance $poll
      (export "pollable" (type $p (sub resource)))
      (export "poll" (func (param "in" (list (borrow $p))) (result (list u32))))))
    (alias export $poll "pollable" (type $pollable))
    ${clock} ${types} ${memory}
    (core func $wait (canon lower (func $poll "poll") ${canonical}))
    (core func $subscribe (canon lower (func $clock "subscribe-duration")))
    (core module $m
      (import "h" "m" (memory 1))
      (import "h" "poll" (func $poll (param i32 i32 i32)))
      (import "h" "subscribe" (func $subscribe (param i64) (result i32)))
      (func (export "handle") (param i32 i32) (local $pollable i32) (local $at i32)
        (local.set $pollable (call $subscribe (i64.const 1000000000000)))
        (local.set $at (i32.const 65536))
        (loop $more
          (i32.store (local.get $at) (local.get $pollable))
          (local.set $at (i32.add (local.get $at) (i32.const 4)))
          (br_if $more (i32.lt_u (local.get $at) (i32.const 65000000))))
        (call $poll (i32.const 65536) (i32.const 16000000) (i32.const 0))))
    (core instance $i (instantiate $m (with "h" (instance
      (export "m" (memory $mem "m")) (export "poll" (func $wait)) (export "subscribe" (func $subscribe))))))
    ${handlerOf('handle')})`);
}

const clock = `
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $pp))
    (export "pollable" (type $pq (eq $pp)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pq))))))`;

/** Subscribes to the clock and keeps every handle, without end. */
export function hoarderGuest(): Promise<Uint8Array> {
  return parse(`(component
    (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type $p (sub resource)))))
    (alias export $poll "pollable" (type $pollable))
    ${clock} ${types}
    (core func $subscribe (canon lower (func $clock "subscribe-duration")))
    (core module $m
      (import "h" "subscribe" (func $subscribe (param i64) (result i32)))
      (func (export "handle") (param i32 i32) (loop $more (drop (call $subscribe (i64.const 0))) (br $more))))
    (core instance $i (instantiate $m (with "h" (instance (export "subscribe" (func $subscribe))))))
    ${handlerOf('handle')})`);
}

/** Makes headers from a million entries that all name the same bytes of the guest. */
export function manyHeadersGuest(nameBytes: number, valueBytes: number): Promise<Uint8Array> {
  return parse(`(component
    (import "wasi:http/types@0.2.0" (instance $types
      (export "incoming-request" (type (sub resource)))
      (export "response-outparam" (type (sub resource)))
      (export "fields" (type $f (sub resource)))
      (type $errors (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
      (export "header-error" (type $e (eq $errors)))
      (type $entry (tuple string (list u8)))
      (export "[static]fields.from-list" (func
        (param "entries" (list $entry)) (result (result (own $f) (error $e)))))))
    ${memory}
    (core func $from (canon lower (func $types "[static]fields.from-list") ${canonical}))
    (core module $m
      (import "h" "m" (memory 1))
      (import "h" "from" (func $from (param i32 i32 i32)))
      (func (export "handle") (param i32 i32) (local $at i32)
        (memory.fill (i32.const 32000000) (i32.const 97) (i32.const 30000000))
        (local.set $at (i32.const 65536))
        (loop $more
          (i32.store (local.get $at) (i32.const 32000000))
          (i32.store offset=4 (local.get $at) (i32.const ${nameBytes}))
          (i32.store offset=8 (local.get $at) (i32.const 32000000))
          (i32.store offset=12 (local.get $at) (i32.const ${valueBytes}))
          (local.set $at (i32.add (local.get $at) (i32.const 16)))
          (br_if $more (i32.lt_u (local.get $at) (i32.const 30000000))))
        (call $from (i32.const 65536) (i32.const 1000000) (i32.const 0))))
    (core instance $i (instantiate $m (with "h" (instance
      (export "m" (memory $mem "m")) (export "from" (func $from))))))
    ${handlerOf('handle')})`);
}

/** Returns without an answer, after it has written all over its memory; traps when it does not find it as it must be. */
export function residueGuest(): Promise<Uint8Array> {
  return plainGuest(`(core module $m
    (memory 2)
    (data (i32.const 1000) "as it was")
    (func (export "handle") (param i32 i32) (local $at i32)
      (if (i32.ne (memory.size) (i32.const 2)) (then unreachable))
      (if (i32.ne (memory.grow (i32.const 3)) (i32.const 2)) (then unreachable))
      (loop $more
        (if (i32.load8_u (local.get $at))
          (then (if (i32.or (i32.lt_u (local.get $at) (i32.const 1000)) (i32.ge_u (local.get $at) (i32.const 1009)))
            (then unreachable))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $at) (i32.const 327680))))
      (if (i32.ne (i32.load8_u (i32.const 1000)) (i32.const 97)) (then unreachable))
      (memory.fill (i32.const 0) (i32.const 255) (i32.const 327680))))`);
}

/** Many instances of one module with a memory each. */
export function manyMemoriesGuest(instances: number, pages: number): Promise<Uint8Array> {
  const more = Array.from({ length: instances }, () => '(core instance (instantiate $m))').join('\n');
  return parse(`(component
    (core module $m (memory ${pages}) (func (export "handle") (param i32 i32)))
    (core instance $i (instantiate $m)) ${more} ${types} ${handlerOf('handle')})`);
}

/** An engine of its own for a suite, and components as the files that engines take. */
export interface Bench {
  readonly engine: WasmEngine;
  readonly folder: string;
  readonly warnings: string[];
  component(bytes: Uint8Array): Promise<ComponentFile>;
  load(
    component: Uint8Array | ComponentFile,
    reuse?: number,
    env?: Record<string, string>,
    engine?: WasmEngine,
  ): Promise<WasmFunction>;
  /** A second engine over the same cache, as after a restart. */
  another(): Promise<WasmEngine>;
  close(): Promise<void>;
}

export const memoryBytes = 64 * 2 ** 20;

export async function openBench(): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), 'skerry-jco-'));
  const warnings: string[] = [];
  const options = { cacheDir: join(folder, 'cache'), cacheKey: Buffer.alloc(32, 1) };
  const another = () => openJcoEngine({ ...options, warn: (message) => warnings.push(message) });
  const engine = await another();
  const limits = {
    memoryBytes,
    cpuMillicores: 500,
    timeoutMs: 10_000,
    startTimeoutMs: 30_000,
    concurrency: 64,
    maxRequestBytes: 2 ** 30,
    maxResponseBytes: 2 ** 30,
  };
  const component = async (bytes: Uint8Array) => {
    const hash = createHash('sha256').update(bytes).digest('hex');
    const path = join(folder, `${hash}.wasm`);
    await writeFile(path, bytes);
    return { digest: `sha256:${hash}`, path };
  };
  return {
    engine,
    folder,
    warnings,
    component,
    another,
    async load(from, reuse = 1, env = {}, on = engine) {
      const file = from instanceof Uint8Array ? await component(from) : from;
      const settings = { label: 'guest@test', limits, env, ...noServices(), reuse, output: () => {} };
      return on.load(file, settings);
    },
    async close() {
      await engine.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** What a promise is refused with; fails when that is no SkerryError. */
export async function refusal(work: Promise<unknown>): Promise<SkerryError> {
  const error = await work.then(
    () => new Error('it was not refused'),
    (thrown) => thrown,
  );
  if (error instanceof SkerryError) return error;
  throw error;
}

/** Asks for a path; the failure. */
export function failure(fn: WasmFunction, target = '/', deadlineMs = 30_000): Promise<SkerryError> {
  return refusal(fn.handle(makeExchange({ target, deadlineMs }).exchange));
}
