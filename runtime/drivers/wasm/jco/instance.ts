/** One instance of a function's component in a worker, and the requests it serves. */
import type { Channel } from './channel.ts';
import type { Instantiate } from './glue.ts';
import type { MemoryPool } from './memory-pool.ts';
import type { CodeMessage, CodeModule, Failure, RunMessage } from './protocol.ts';
import { readableSymbol } from './rust-symbols.ts';
import { Answer } from './wasi/answer.ts';
import { setEnvironment } from './wasi/cli.ts';
import { setConfiguration } from './wasi/config.ts';
import { CurrentRun, setCurrentRun } from './wasi/current-run.ts';
import { RunFailure } from './wasi/failure.ts';
import { HandleBudget, setHandleBudget } from './wasi/handle.ts';
import { IncomingRequest } from './wasi/http-incoming.ts';
import { ResponseOutparam } from './wasi/http-response.ts';
import { imports } from './wasi/imports.ts';
import { requestBody } from './wasi/request-body.ts';
import { failedGrows, hostMemory, hostModule, knownPages, startFunction } from './wasm-instrument.ts';

type Handler = { handle(request: IncomingRequest, out: ResponseOutparam): void };

/** A function's code, made ready once in a worker. */
export class Code {
  readonly message: CodeMessage;
  readonly instantiate: Instantiate;
  /** The instance that serves further requests, when the function allows that. */
  instance: Instance | null = null;

  constructor(message: CodeMessage, instantiate: Instantiate) {
    this.message = { ...message, glue: null };
    this.instantiate = instantiate;
  }
}

export class Instance {
  readonly #memories: WebAssembly.Memory[] = [];
  readonly #given: { kind: NonNullable<CodeModule['memory']>; memory: WebAssembly.Memory }[] = [];
  readonly handles: HandleBudget;
  readonly #failedGrows: WebAssembly.Global[] = [];
  #handler: Handler | null = null;
  served = 0;

  /** Its limit of memory in bytes. */
  constructor(memoryBytes: number) {
    this.handles = new HandleBudget(memoryBytes, () => this.memoryBytes);
  }

  /** Instantiates the component; apart from the constructor, so that a failure in it can be explained. */
  start(code: Code, memories: MemoryPool): void {
    const modules = new Map(code.message.modules.map((entry) => [entry.name, { entry, left: entry.instances }]));
    const budget = new Map([...modules.values()].map((counted) => [counted.entry.module, counted]));
    const exports = code.instantiate(
      (name) => {
        const counted = modules.get(name);
        if (!counted) throw new Error(`no core module ${name}`);
        return counted.entry.module;
      },
      imports,
      (module, moduleImports) => {
        // The limits of memory were shared out over so many instances of each module, and not one more.
        const counted = budget.get(module);
        if (!counted || counted.left-- <= 0) throw new Error('a core module was instantiated once too often');
        return this.#instantiate(counted.entry, moduleImports, memories);
      },
    );
    const name = Object.keys(exports).find((key) => key.startsWith('wasi:http/incoming-handler@0.2.'));
    this.#handler = exports[name ?? 'incomingHandler'] as Handler;
  }

  #instantiate({ module, data, memory: kind }: CodeModule, imports: WebAssembly.Imports = {}, memories: MemoryPool) {
    const memory = kind && memories.take(kind);
    const given = memory ? { [hostModule]: { [hostMemory]: memory } } : {};
    if (kind && memory) {
      this.#given.push({ kind, memory });
      this.#memories.push(memory);
    }
    const instance = new WebAssembly.Instance(module, { ...imports, ...given });
    const pages = instance.exports[knownPages];
    if (kind && pages instanceof WebAssembly.Global) pages.value = kind.initial;
    if (data) new WebAssembly.Instance(data, given);
    const grows = instance.exports[failedGrows];
    if (grows instanceof WebAssembly.Global) this.#failedGrows.push(grows);
    for (const value of Object.values(instance.exports)) {
      if (value instanceof WebAssembly.Memory && !this.#memories.includes(value)) this.#memories.push(value);
    }
    const start = instance.exports[startFunction];
    if (typeof start === 'function') start();
    return instance;
  }

  /** It serves no more: its memories may go to another. */
  retire(memories: MemoryPool): void {
    for (const { kind, memory } of this.#given) memories.give(kind, memory);
  }

  get memoryBytes(): number {
    return this.#memories.reduce((sum, memory) => sum + memory.buffer.byteLength, 0);
  }

  /** A request for more memory was turned down. */
  get wantedMemory(): boolean {
    return this.handles.exceeded || this.#failedGrows.some((counter) => counter.value !== 0);
  }

  serve(run: CurrentRun): void {
    this.served++;
    this.#handler!.handle(new IncomingRequest(run.message.head, run.body), new ResponseOutparam());
  }
}

/** Serves one request, from the instance kept for it or a new one, and tells how it went. */
export function serve(channel: Channel, code: Code, message: RunMessage, memories: MemoryPool): void {
  const body = requestBody(channel, message);
  const run: CurrentRun = new CurrentRun(
    channel,
    message,
    body,
    new Answer(channel, message, (failure) => run.failed(failure)),
    code.message,
  );
  setCurrentRun(run);
  const instance = code.instance ?? new Instance(code.message.memoryBytes);
  const fresh = code.instance === null;
  code.instance = null;
  channel.begin(!fresh);
  setEnvironment(code.message.env);
  setConfiguration(code.message.config);
  setHandleBudget(instance.handles);
  let failure: Failure | null = null;
  let returned = false;
  let makingMs: number | null = null;
  try {
    if (fresh) {
      instance.start(code, memories);
      makingMs = channel.made();
    }
    instance.serve(run);
    returned = true;
    failure = run.failure?.failure ?? unanswered(run);
  } catch (error) {
    failure = explain(run, error, instance.wantedMemory);
  }
  setCurrentRun(null);
  run.calls.over = true;
  run.output.flush();
  channel.post({
    kind: 'done',
    run: message.run,
    failure,
    busyMs: channel.busyMs(),
    makingMs,
    reused: !fresh,
    memoryBytes: instance.memoryBytes,
  });
  // What is left to do is not on the way of the answer. An instance that was broken off is given up as a whole.
  if (!failure && instance.served < code.message.reuse) code.instance = instance;
  else if (returned) instance.retire(memories);
}

/** What a guest that returned has left undone. */
function unanswered(run: CurrentRun): Failure | null {
  if (!run.answer.given) return { code: 'FUNCTION_NO_ANSWER', why: '' };
  if (!run.answer.complete && !run.gone) {
    return { code: 'UNFINISHED', why: '' };
  }
  return null;
}

function explain(run: CurrentRun, error: unknown, wantedMemory: boolean): Failure | null {
  const known = run.failure ?? (error instanceof RunFailure ? error : null);
  if (known) {
    // A guest that has answered may end as it likes.
    if (known.failure.code === 'FUNCTION_EXITED' && run.answer.complete) return null;
    return known.failure;
  }
  const why = trapMessage(error);
  // A guest that cannot write because its client has left has done nothing wrong: many give up by a trap.
  if (!run.gone) {
    const stack = error instanceof Error && typeof error.stack === 'string' ? wasmFrames(error.stack) : '';
    run.output.print('stderr', new TextEncoder().encode(`trap: ${why}\n${stack}`));
  }
  return { code: wantedMemory ? 'FUNCTION_MEMORY' : 'FUNCTION_TRAPPED', why };
}

function trapMessage(error: unknown): string {
  if (error instanceof RangeError && /call stack/i.test(error.message)) return 'call stack exhausted';
  if (error instanceof Error) return error.message.split('\n', 1)[0]!.slice(0, 512);
  return 'an exception that nothing caught';
}

/** The guest's own frames of a stack: those of the node's code tell a developer of guests nothing. */
function wasmFrames(stack: string): string {
  const frames = stack.split('\n').filter((line) => line.includes('wasm://'));
  return frames
    .map((line) => line.replace(/ \(wasm:\/\/[^:]*:wasm-function/, ' (wasm-function'))
    .map((line) => `${line.replace(/(?<=\.)_(?:ZN|R)\S+(?= \(wasm-function)/, readableSymbol)}\n`)
    .join('');
}
