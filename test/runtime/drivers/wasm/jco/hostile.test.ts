import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeExchange } from '../../../../support/exchange.ts';
import { guestComponent } from '../../../../support/guests.ts';
import {
  type Bench,
  failure,
  hoarderGuest,
  longPollGuest,
  manyHeadersGuest,
  manyMemoriesGuest,
  openBench,
  plainGuest,
  refusal,
} from './wat-guests.ts';

const test = suite<{ bench: Bench }>('jco: components that attack the host');

test.before(async (context) => {
  context.bench = await openBench();
});
test.after(({ bench }) => bench.close());

const names = {
  'a quote': `x'];globalThis.owned=1;//`,
  'a double quote': String.raw`x\"];globalThis.owned=1;//`,
  'a backslash': String.raw`x\\`,
  'a newline': String.raw`x\nglobalThis.owned=1;`,
  'a backquote': '`x`',
  'the end of a comment': 'x*/globalThis.owned=1;/*',
  'a line separator': String.raw`x\u{2028}globalThis.owned=1;`,
};

for (const [what, name] of Object.entries(names)) {
  test(`a core module that exports a name with ${what} is refused`, async ({ bench }) => {
    const guest = await plainGuest(`(core module $m (func (export "${name}") (param i32 i32)))`, name);
    assert.is((await refusal(bench.load(guest))).code, 'COMPONENT_INVALID');
  });

  test(`a core module that imports a name with ${what} is refused`, async ({ bench }) => {
    const guest = await plainGuest(
      `(core module $n (func (export "f")))
       (core instance $n (instantiate $n))
       (core module $m (import "${name}" "f" (func $f)) (func (export "handle") (param i32 i32) (call $f)))`,
      'handle',
      `(instantiate $m (with "${name}" (instance $n)))`,
    );
    assert.is((await refusal(bench.load(guest))).code, 'COMPONENT_INVALID');
  });
}

test('a list of millions of elements fails alone', async ({ bench }) => {
  const fn = await bench.load(await longPollGuest());
  assert.is((await failure(fn)).code, 'FUNCTION_TRAPPED');
  await fn.close();
});

for (const [what, nameBytes, valueBytes] of [
  ['names', 30_000_000, 1],
  ['values', 1, 30_000_000],
  ['entries', 1, 1],
] as const) {
  test(`headers whose ${what} name the same bytes a million times fail alone`, async ({ bench }) => {
    const fn = await bench.load(await manyHeadersGuest(nameBytes, valueBytes));
    assert.is((await failure(fn)).code, 'FUNCTION_TRAPPED');
    await fn.close();
  });
}

test('a guest that keeps every handle it can get fails alone', async ({ bench }) => {
  const fn = await bench.load(await hoarderGuest());
  const error = await failure(fn);
  assert.is(error.code, 'FUNCTION_TRAPPED');
  assert.match(error.what, /handles/);
  await fn.close();
});

test('many small memories count as one large one', async ({ bench }) => {
  const error = await refusal(bench.load(await manyMemoriesGuest(100, 16)));
  assert.is(error.code, 'MEMORY_BELOW_INITIAL');
  assert.match(error.message, /101 MiB/);
});

test('other functions answer after all that', async ({ bench }) => {
  const fn = await bench.load(await guestComponent('behaviours'));
  const { exchange, answer } = makeExchange({ target: '/hello' });
  await fn.handle(exchange);
  assert.is((await answer).status, 200);
  await fn.close();
});

test.run();
