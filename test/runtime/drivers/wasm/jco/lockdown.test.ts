import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { GuestWorker, type Job } from '../../../../../runtime/drivers/wasm/jco/guest-worker.ts';
import { Lane } from '../../../../../runtime/drivers/wasm/jco/lanes.ts';
import type { CodeMessage, FromWorker } from '../../../../../runtime/drivers/wasm/jco/protocol.ts';

const test = suite('jco: what generated code could reach if it were hostile');

/** Runs text in a worker as if jco had generated it; what it prints on stdout. */
function runAsGlue(statements: string, times = 1): Promise<string> {
  const glue = `(() => {
    "use strict";
    return (getCoreModule, imports) => {
      const say = (text) => {
        const bytes = new TextEncoder().encode(String(text)).slice(0, 4096);
        imports['wasi:cli/stdout'].getStdout().blockingWriteAndFlush(bytes);
      };
      ${statements}
      return {};
    };
  })()`;
  const code: CodeMessage = {
    kind: 'code',
    code: 1,
    component: 'sha256:0',
    glue,
    modules: [],
    env: [],
    config: [],
    outbound: { requests: 0, atOnce: 0 },
    memoryBytes: 64 * 2 ** 20,
    reuse: 1,
  };
  const head = { id: '1', method: 'GET', scheme: 'http', authority: 'a', target: '/', headers: [] };
  return new Promise((resolve, reject) => {
    let said = '';
    let left = times;
    // Workers keep no process alive while they start.
    const alive = setInterval(() => {}, 60_000);
    const job: Job = {
      code,
      lane: new Lane(),
      begin: (worker) => worker.post({ kind: 'run', run: worker.run, code: 1, head, body: null, trailers: null }),
      message(message: FromWorker) {
        if (message.kind === 'output' && message.stream === 'stdout') said += Buffer.from(message.data).toString();
        if (message.kind !== 'done' || --left > 0) return;
        clearInterval(alive);
        resolve(said);
        void worker.terminate();
      },
      lost: (_outOfMemory, reason) => reject(reason),
    };
    const worker = new GuestWorker({ ready: () => left > 0 && worker.begin(job), ended() {} });
  });
}

test('there is no process, no require, no network, no timers', async () => {
  const names = [
    'process',
    'require',
    'module',
    'fetch',
    'WebSocket',
    'Buffer',
    'setTimeout',
    'MessageChannel',
    'Worker',
  ];
  const types = await runAsGlue(`say(JSON.stringify([${names.map((name) => `typeof ${name}`).join()}]));`);
  assert.equal(
    JSON.parse(types),
    names.map(() => 'undefined'),
  );
});

test('the global scope has the language and WebAssembly, and little else', async () => {
  const names = JSON.parse(await runAsGlue('say(JSON.stringify(Object.getOwnPropertyNames(globalThis)));')) as string[];
  for (const name of ['eval', 'performance', 'crypto', 'queueMicrotask', 'structuredClone', 'global']) {
    assert.not(names.includes(name), name);
  }
  assert.ok(names.includes('WebAssembly'));
  assert.ok(names.length < 75, names.join());
});

test('functions of the host lead to the same empty scope', async () => {
  const said = await runAsGlue(`say(imports['wasi:io/poll'].poll.constructor('return typeof process')());`);
  assert.is(said, 'undefined');
});

test('nothing can be imported', async () => {
  const said = await runAsGlue(
    `if (globalThis.said) say(globalThis.said.join());
     globalThis.said = [];
     const keep = (promise) => promise.then(() => globalThis.said.push('imported'), () => globalThis.said.push('refused'));
     keep(import('node:fs'));
     keep(Function('return import("node:fs")')());
     keep(import('data:text/javascript,0'));`,
    2,
  );
  assert.is(said, 'refused,refused,refused');
});

test.run();
