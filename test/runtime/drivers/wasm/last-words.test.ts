import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LastWords } from '../../../../runtime/drivers/wasm/last-words.ts';

const test = suite('why a function exited');

function codeOf(status: string, ...said: [stream: 'stdout' | 'stderr', text: string][]): string {
  const words = new LastWords();
  for (const [stream, text] of said) words.hear(stream, Buffer.from(text));
  return words.explain(status, 64 * 2 ** 20).code;
}

test('an exception on stderr is told as one, also when it comes in pieces and with a long stack', () => {
  assert.is(codeOf('1', ['stderr', 'Uncaught TypeError: no good\n  at f\n']), 'FUNCTION_THREW');
  assert.is(codeOf('1', ['stderr', 'before\nUncau'], ['stderr', 'ght Error: '], ['stderr', 'x\n']), 'FUNCTION_THREW');
  assert.is(codeOf('1', ['stderr', `Uncaught Error: x\n${'  at f\n'.repeat(2000)}`]), 'FUNCTION_THREW');
});

test('the end of memory is told as that, and the last exception counts', () => {
  assert.is(codeOf('1', ['stderr', 'Uncaught out of memory\n']), 'FUNCTION_MEMORY');
  assert.is(codeOf('1', ['stderr', 'Uncaught out of memory\n'], ['stderr', 'Uncaught Error: x\n']), 'FUNCTION_THREW');
});

test('so is the memory that the engine gets no more of for a body', () => {
  const said = 'Error while (cabi_realloc) Unable to realloc, but no exception is pending.\n';
  assert.is(codeOf('1', ['stderr', said]), 'FUNCTION_MEMORY');
  assert.is(codeOf('0', ['stderr', said]), 'FUNCTION_EXITED');
});

test('a body that was never finished is no answer where the handler never came to its end', () => {
  const words = new LastWords();
  assert.is(words.unfinished().code, 'FUNCTION_BAD_ANSWER');
  words.hear('stderr', Buffer.from('Warning: JS event loop terminated without completing the request.\n'));
  assert.is(words.unfinished().code, 'FUNCTION_NO_ANSWER');
});

test('an exit is an exit when nothing, or something else, was said, or when it was with 0', () => {
  assert.is(codeOf('1'), 'FUNCTION_EXITED');
  assert.is(codeOf('1', ['stderr', 'nothing Uncaught here\n']), 'FUNCTION_EXITED');
  assert.is(codeOf('1', ['stdout', 'Uncaught Error: x\n']), 'FUNCTION_EXITED');
  assert.is(codeOf('0', ['stderr', 'Uncaught Error: x\n']), 'FUNCTION_EXITED');
});

test.run();
