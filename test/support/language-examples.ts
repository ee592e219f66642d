/** The tests of an example in a language: built, deployed and asked by the commands of its README, on each engine. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ExampleNode } from './example-node.ts';
import { exampleMissing } from './examples.ts';
import { ask } from './test-node.ts';

export interface LanguageExample {
  /** Its folder. */
  readonly name: string;
  /** What the documented `curl` prints. */
  readonly says: string;
  /** What is sent to it, and what comes back. */
  readonly answers: readonly { readonly path: string; readonly body: string; readonly answer: string }[];
  /** The code with which the jco engine refuses it. */
  readonly refusedByJco?: string;
}

/** Some 900 kB: more than what crosses any boundary at once. */
export const longText = 'The quick brown fox jumps over the lazy dog. '.repeat(20_000);

export async function testExamples(language: string, examples: readonly LanguageExample[]): Promise<void> {
  // Before the suites: uvu runs those one after the other only when they are made in one go.
  const missing = new Map<string, string | null>();
  for (const { name } of examples) missing.set(name, await exampleMissing(name));

  for (const engine of ['wasmtime', 'jco'] as const) {
    const test = suite<{ node: ExampleNode }>(`${language} on ${engine}`);
    if (examples.some(({ name }) => missing.get(name) === null)) {
      test.before(async (context) => {
        context.node = await ExampleNode.start(engine);
      });
      test.after(({ node }) => node.close());
    }

    for (const { name, says, answers, refusedByJco } of examples) {
      const lacking = missing.get(name);
      if (typeof lacking === 'string') {
        test.skip(name);
        console.log(`skipped: the example ${name} on ${engine}, since ${lacking}`);
      } else if (engine === 'jco' && refusedByJco !== undefined) {
        test(`${name} is refused with the reason`, async ({ node }) => {
          const { status, stderr } = await node.deploy(name);
          assert.is(status, 1);
          assert.ok(stderr.endsWith(`[${refusedByJco}]\n`), stderr);
        });
      } else {
        test(`${name} is built, deployed and asked by the commands of its README`, async ({ node }) => {
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
}
