import { openWasmtimeEngine } from '../../runtime/drivers/wasm/wasmtime/index.ts';
import { guestComponent, guest } from './guests.ts';
import { makeExchange } from './exchange.ts';
const limits = { memoryBytes: 1 << 26, cpuMillicores: 500, timeoutMs: 1e4, startTimeoutMs: 1e4, concurrency: 64 };
const t0=performance.now();
const engine = await openWasmtimeEngine({ cacheDir: '/tmp/zz-cache', cacheKey: Buffer.alloc(32), warn: console.log });
console.log('open', performance.now()-t0);
const t1=performance.now();
const fn = await engine.load(await guestComponent('behaviours'), { label: 'f@1', limits, env: {}, reuse: 1, output: () => {} });
console.log('load', performance.now()-t1);
for (const n of [1, 2, 8, 64]) {
  const late: number[] = []; const hello: number[] = [];
  let running = true;
  const probe = (async () => { while (running) { const s = performance.now(); const e = makeExchange({target:'/hello'}); await fn.handle(e.exchange); hello.push(performance.now()-s); await new Promise(r=>setTimeout(r,5)); } })();
  await Promise.all(Array.from({length:n}, async () => { const e = makeExchange({target:'/loop', deadlineMs: 500}); await fn.handle(e.exchange).catch(()=>{}); late.push(performance.now()-e.exchange.deadline); }));
  running = false; await probe;
  hello.sort((a,b)=>a-b);
  console.log(n, 'loops: late max', Math.max(...late).toFixed(1), 'ms; hello meanwhile p50', hello[hello.length>>1]!.toFixed(2), 'max', hello.at(-1)!.toFixed(1), 'n', hello.length);
}
await engine.close();
