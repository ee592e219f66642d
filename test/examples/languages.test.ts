import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ExampleNode } from '../support/example-node.ts';
import { exampleMissing } from '../support/examples.ts';
import { ask } from '../support/test-node.ts';

interface Language {
  /** The example's folder. */
  readonly name: string;
  readonly of: string;
  /** What the documented `curl` prints. */
  readonly says: string;
  /** Asks with bodies, and what comes back. */
  readonly answers: readonly { readonly path: string; readonly body: string; readonly answer: string }[];
  /** The code with which the jco engine refuses it. */
  readonly refusedByJco?: string;
}

/** Longer than any piece that crosses a boundary at once. */
const long = 'The quick brown fox jumps over the lazy dog. '.repeat(20_000);

const languages: readonly Language[] = [
  { name: 'hello', of: 'TypeScript', says: 'Hello from Skerry! You asked for /\n', answers: [] },
  {
    name: 'hono',
    of: 'JavaScript with Hono',
    says: '{"celsius":20,"fahrenheit":68}',
    answers: [
      { path: '/sum', body: '[1,2,3]', answer: '{"sum":6}' },
      { path: '/nowhere', body: '', answer: '404 Not Found' },
    ],
  },
  {
    name: 'rust',
    of: 'Rust, WASI 0.2',
    says: 'hello',
    answers: [{ path: '/', body: long, answer: long }],
  },
  {
    name: 'rust-p3',
    of: 'Rust, WASI 0.3',
    says: 'HELLO',
    answers: [{ path: '/', body: long, answer: long.toUpperCase() }],
    refusedByJco: 'ENGINE_LACKS_P3',
  },
  {
    name: 'python',
    of: 'Python',
    says: '{"to": 2, "be": 2, "or": 1, "not": 1}\n',
    answers: [{ path: '/', body: 'The dog. '.repeat(20_000), answer: '{"The": 20000, "dog.": 20000}\n' }],
  },
  { name: 'go', of: 'Go', says: 'hello', answers: [{ path: '/', body: long, answer: long }] },
];

/** Looked up before the suites: uvu runs those one after the other only when they are made in one go. */
const missing = new Map<string, string | null>();
for (const { name } of languages) missing.set(name, await exampleMissing(name));

for (const engine of ['wasmtime', 'jco'] as const) {
  const test = suite<{ node: ExampleNode }>(`examples on ${engine}`);
  test.before(async (context) => {
    context.node = await ExampleNode.start(engine);
  });
  test.after(({ node }) => node.close());

  for (const { name, of, says, answers, refusedByJco } of languages) {
    const promise = `${name} (${of})`;
    const lacking = missing.get(name) ?? null;
    if (lacking !== null) {
      test.skip(promise);
      console.log(`skipped: ${promise} on ${engine}, since ${lacking}`);
    } else if (engine === 'jco' && refusedByJco !== undefined) {
      test(`${promise} is refused with the reason`, async ({ node }) => {
        const { status, stderr } = await node.deploy(name);
        assert.is(status, 1);
        assert.ok(stderr.endsWith(`[${refusedByJco}]\n`), stderr);
      });
    } else {
      test(`${promise} is built, deployed and asked by the commands of its README`, async ({ node }) => {
        await node.deployed(name);
        assert.is(await node.askedAsDocumented(name), says);
        for (const { path, body, answer } of answers) {
          const { body: got } = await ask(node.url, { method: 'POST', path: `/${name}${path}`, body });
          assert.ok(got.toString() === answer, `${path} was answered ${got.length} bytes: ${got.subarray(0, 200)}`);
        }
      });
    }
  }
  test.run();
}
