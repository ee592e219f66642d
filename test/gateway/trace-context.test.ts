import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { beginTrace, continueTrace } from '../../gateway/listener/trace-context.ts';

const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
const span = '00f067aa0ba902b7';

test('a valid traceparent keeps its trace and flags, and gets a parent id of its own', () => {
  for (const flags of ['00', '01', 'ff']) {
    const next = continueTrace(`00-${trace}-${span}-${flags}`);
    assert.match(next!, new RegExp(`^00-${trace}-[0-9a-f]{16}-${flags}$`));
    assert.not.match(next!, span);
  }
});

test('of a later version only what this one knows is passed on', () => {
  for (const more of ['', '-what-comes-later']) {
    assert.match(continueTrace(`cc-${trace}-${span}-ff${more}`)!, new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`));
    assert.match(continueTrace(`01-${trace}-${span}-02${more}`)!, /-00$/);
  }
});

test('what is not valid is not passed on', () => {
  const zeros = '0'.repeat(32);
  for (const text of [
    '',
    'nonsense',
    `00-${trace}-${span}`,
    `00-${trace}-${span}-1`,
    `00-${trace}-${span}-01-more`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${zeros}-${span}-01`,
    `00-${trace}-${zeros.slice(16)}-01`,
    `ff-${trace}-${span}-01`,
    `00-${trace}-${span}-01\n`,
    ` 00-${trace}-${span}-01`,
  ]) {
    assert.is(continueTrace(text), null, JSON.stringify(text));
  }
});

test('traces that the gateway begins are all different', () => {
  const begun = Array.from({ length: 10_000 }, () => beginTrace());
  for (const each of begun) assert.match(each, /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  assert.is(new Set(begun.map((each) => each.slice(3, 35))).size, begun.length);
  assert.is(new Set(begun.map((each) => each.slice(36, 52))).size, begun.length);
});

test.run();
