import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LastWords } from '../../../../../runtime/drivers/wasm/last-words.ts';
import { requestFailure } from '../../../../../runtime/drivers/wasm/wasmtime/failures.ts';

const test = suite('wasmtime: failures in the words of WASI');

/** The code of an error that a guest answers with. */
const answeredError = 5;

for (const [printed, told] of [
  ['ErrorCode::HttpRequestDenied', 'http-request-denied'],
  ['ErrorCode::DnsTimeout', 'dns-timeout'],
  ['ErrorCode::InternalError(None)', 'internal-error'],
  [
    String.raw`ErrorCode::InternalError(Some("a \"word\" of the gu\u{e9}st \\\nand more"))`,
    'internal-error: a "word" of the guést \\',
  ],
  ['ErrorCode::HttpRequestBodySize(Some(0))', 'http-request-body-size'],
] as const) {
  test(`${printed} is told as ${JSON.stringify(told)}`, () => {
    const { what } = requestFailure(answeredError, printed, 0, new LastWords());
    assert.is(what, `the function answered with an error: ${told}`);
  });
}

test.run();
