/** A function that uses what it may beyond itself, as its author would write it; bundled and built by the tests. */
import { get } from 'wasi:config/store@0.2.0-rc.1';
import { Cas, increment, swap } from 'wasi:keyvalue/atomics@0.2.0-draft2';
import { deleteMany, getMany, setMany } from 'wasi:keyvalue/batch@0.2.0-draft2';
import { type Bucket, open } from 'wasi:keyvalue/store@0.2.0-draft2';
import { log } from 'wasi:logging/logging@0.1.0-draft';

type Handler = (request: Request, env: Record<string, string>) => Response | Promise<Response>;

const text = (bytes: Uint8Array | null | undefined) => (bytes ? new TextDecoder().decode(bytes) : null);
const bytes = (value: string) => new TextEncoder().encode(value);
const target = (request: Request) => new URL(request.url).searchParams.get('url')!;
const told = (error: unknown) => {
  const { name, message } = error as Error;
  return new Response(`${error instanceof TypeError} ${name}: ${message}`);
};

/** The message of a failure, and what wasi:keyvalue says of it. */
function failureOf(work: () => unknown): { message: string; payload: unknown } | null {
  try {
    work();
  } catch (error) {
    if (error instanceof Error)
      return { message: error.message, payload: (error as Error & { payload: unknown }).payload };
  }
  return null;
}

function pages(bucket: Bucket): string[][] {
  const all: string[][] = [];
  let cursor: string | undefined;
  do {
    const page = bucket.listKeys(cursor);
    all.push(page.keys);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return all;
}

const routes: Record<string, Handler> = {
  '/env': (_request, env) => Response.json({ env, secret: get('API_KEY'), missing: get('MISSING') ?? null }),
  '/fetch': (request) => fetch(target(request)).catch(told),
  '/upper': async (request) => {
    const answer = await fetch(target(request));
    return new Response((await answer.text()).toUpperCase(), { status: answer.status });
  },
  '/forward': (request) => {
    const init: RequestInit & { duplex: 'half' } = { method: 'POST', body: request.body, duplex: 'half' };
    return fetch(target(request), init).catch(told);
  },
  '/methods': async (request) => {
    const told: string[] = [];
    for (const method of ['GE T', 'CONNECT', 'trace', 'a\r\nb', 'PURGE']) {
      const answer = await fetch(target(request), { method }).catch((error: Error) => error);
      told.push(answer instanceof Response ? await answer.text() : `${answer instanceof TypeError}`);
    }
    try {
      new Request(target(request), { method: 'GE T' });
    } catch (error) {
      told.push(`${error instanceof TypeError}`);
    }
    return Response.json(told);
  },
  '/too-many': (request) =>
    Promise.all(Array.from({ length: 40 }, () => fetch(target(request)))).then(() => new Response('all'), told),
  '/post': (request) => fetch(target(request), { method: 'POST', body: 'x'.repeat(300_000) }).catch(told),
  '/many': async (request) => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => fetch(target(request))));
    const bodies = await Promise.all(answers.map((answer) => answer.text()));
    return new Response(bodies.join(' '));
  },
  '/in-turn': async (request) => {
    let answered = 0;
    while (answered < 60) answered += (await (await fetch(target(request))).text()).length;
    return new Response(`${answered} in turn`);
  },
  '/echo': (request) => new Response(request.body),
  '/never-closed': () =>
    new Response(new ReadableStream({ start: (controller) => controller.enqueue(bytes('the first half')) })),
  '/read-later': async (request) => new Response((await fetch(target(request))).body),
  '/invalid': () => fetch('http://[').catch(told),
  '/store': () => {
    const bucket = open('visits');
    const before = text(bucket.get('greeting'));
    bucket.set('greeting', bytes('hello é'));
    setMany(bucket, [
      ['a', bytes('1')],
      ['b', bytes('2')],
    ]);
    const told = {
      before,
      after: text(bucket.get('greeting')),
      exists: bucket.exists('greeting'),
      sums: [increment(bucket, 'counter', 5n), increment(bucket, 'counter', -7n)].map(Number),
      many: getMany(bucket, ['a', 'none', 'b']).map((pair) => pair && [pair[0], text(pair[1])]),
      pages: pages(bucket),
    };
    deleteMany(bucket, ['a', 'b', 'counter']);
    bucket.delete('greeting');
    return Response.json({ ...told, left: pages(bucket) });
  },
  '/swap': () => {
    const bucket = open('visits');
    const stale = Cas.new(bucket, 'slot');
    bucket.set('slot', bytes('of somebody else'));
    const failure = failureOf(() => swap(stale, bytes('mine')))!.payload as { tag: string; val: Cas };
    const seen = text(failure.val.current());
    swap(failure.val, bytes('mine'));
    return Response.json([failure.tag, seen, text(bucket.get('slot'))]);
  },
  '/refused': () =>
    Response.json([
      failureOf(() => open('x'.repeat(200))),
      failureOf(() => open('visits').set('large', new Uint8Array(2_000_000))),
      failureOf(() => open(5 as never)),
    ]),
  '/stored-stream': () => {
    const bucket = open('visits');
    bucket.set('page', bytes('a stored page'));
    const stored = bucket.get('page')!;
    const start = (controller: ReadableStreamDefaultController) => {
      controller.enqueue(stored);
      controller.close();
    };
    return new Response(new ReadableStream({ start }), { headers: { 'x-bytes': `${stored instanceof Uint8Array}` } });
  },
  '/log': () => {
    log('warn', 'orders', 'late');
    log('info', '', 'on time');
    return new Response('logged');
  },
};

export default {
  fetch: (request: Request, env: Record<string, string>) => routes[new URL(request.url).pathname]!(request, env),
};
