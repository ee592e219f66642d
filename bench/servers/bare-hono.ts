import { freePort, type Server, serve } from './process.ts';

/** What Node and Hono can do at all, with no sandbox behind them. */
export async function bareHono(): Promise<Server> {
  const port = await freePort();
  const script = `import { serve } from '@hono/node-server'; import { Hono } from 'hono';
const app = new Hono(); app.get('/', (c) => c.text('hello')); serve({ fetch: app.fetch, port: ${port}, hostname: '127.0.0.1' });`;
  const args = ['--input-type=module', '--eval', script];
  return serve('Hono on @hono/node-server, no sandbox', process.execPath, args, `http://127.0.0.1:${port}/`);
}
