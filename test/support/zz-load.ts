import { openWasmtimeEngine } from '../../runtime/drivers/wasm/wasmtime/index.ts';
import { guestComponent } from './guests.ts';
const limits = { memoryBytes: 1 << 26, cpuMillicores: 500, timeoutMs: 1e4, startTimeoutMs: 1e4, concurrency: 64 };
const engine = await openWasmtimeEngine({ cacheDir: '/tmp/zz-cache', cacheKey: Buffer.alloc(32), warn: console.log });
for (const g of ['behaviours', 'behaviours-p3'] as const) {
const fn = await engine.load(await guestComponent(g), { label: 'f@1', limits, env: {}, reuse: 1, output: () => {} });
const headers = ['host','a:1','user-agent','wrk/4','accept','*/*','x-forwarded-for','127.0.0.1','x-forwarded-proto','http','x-request-id','abcdef'];
function once(): Promise<void> {
  const reply = { started:false, ended:false, informational(){}, send(s: number){ if (s!==200) throw new Error('x'); }, start(){}, write(){return true;}, onDrain(){}, end(){}, abort(){} };
  return fn.handle({ id:'x', method:'GET', scheme:'http', authority:'a:1', target:'/hello', headers, body:null, reply, deadline: performance.now()+10000, aborted:false, onAbort(){} } as never);
}
async function run(c: number, ms: number) {
  const end = performance.now()+ms; let n=0;
  await Promise.all(Array.from({length:c}, async()=>{ while(performance.now()<end){ await once(); n++; } }));
  return n/(ms/1000);
}
await run(32, 500);
for (const c of [1, 8, 32, 64]) { const u0=process.cpuUsage(); const r = await run(c, 2000); const u=process.cpuUsage(u0); console.log(g, 'c', c, Math.round(r), 'req/s', 'cpu us/req', ((u.user+u.system)/(r*2)).toFixed(1), fn.stats().cpuMs|0, 'rss', process.memoryUsage().rss>>20); }
console.log(fn.stats());
}
await engine.close();
