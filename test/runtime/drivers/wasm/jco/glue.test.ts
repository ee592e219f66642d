import { readFile } from 'node:fs/promises';
import { transpile } from '@bytecodealliance/jco';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { asScript, evaluate } from '../../../../../runtime/drivers/wasm/jco/glue.ts';
import { guard } from '../../../../../runtime/drivers/wasm/jco/glue-guards.ts';
import { slim } from '../../../../../runtime/drivers/wasm/jco/glue-slim.ts';
import { guest } from '../../../../support/guests.ts';

const test = suite<{ code: string; services: string }>('jco: the generated code has the form that is counted on');

test.before(async (context) => {
  for (const [name, of] of [['code', 'behaviours'] as const, ['services', 'services'] as const]) {
    const component = await readFile(await guest(of));
    const { files } = await transpile(component, { name: 'component', instantiation: 'sync', base64Cutoff: 0 });
    context[name] = new TextDecoder().decode(files['component.js']);
  }
});

test('every imported function is made lean', ({ code, services }) => {
  assert.is(slim(services).left, 0);
  const { lean, left, code: shorter } = slim(code);
  assert.is(left, 0);
  assert.ok(lean > 90, `${lean} functions`);
  assert.ok(shorter.length < code.length / 2);
  assert.type(evaluate(asScript(shorter), 'lean'), 'function');
});

test('lists and strings are bounded, lean or not', ({ code, services }) => {
  for (const text of [code, slim(code).code, services, slim(services).code]) {
    const guarded = guard(text);
    assert.not(/memory\d+\.buffer\.slice\(/.test(guarded));
    assert.type(evaluate(asScript(guarded), 'guarded'), 'function');
  }
});

test('code of another form is refused where its bounds would be missing', ({ code }) => {
  assert.throws(() => guard(code.replaceAll('_checkMayLeave', '_mayLeave')), /cannot be bounded/);
  assert.throws(
    () => guard(code.replace('= new TextDecoder()', "= new TextDecoder('utf-8', {})")),
    /cannot be bounded/,
  );
  assert.throws(
    () => asScript(code.replace('export function instantiate', 'export async function instantiate')),
    /form/,
  );
});

test.run();
