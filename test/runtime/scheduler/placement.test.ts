import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SkerryError } from '../../../errors/skerry-error.ts';
import { placeWorkload } from '../../../runtime/scheduler/placement.ts';

const offered = new Set(['wasm'] as const);

test('a component runs as wasm, chosen or asked for, and the reason is told', () => {
  assert.is(placeWorkload('auto', 'application/wasm', offered).isolation, 'wasm');
  assert.match(placeWorkload('auto', 'application/wasm', offered).decision, /auto: .*component/);
  assert.match(placeWorkload('wasm', 'application/wasm', offered).decision, /asked for/);
});

test('what no sandbox of the node fits is refused with the reason', () => {
  const refused = (run: () => unknown, reason: RegExp) =>
    assert.throws(run, (error: unknown) => {
      assert.instance(error, SkerryError);
      assert.is((error as SkerryError).code, 'ISOLATION_UNFIT');
      return reason.test((error as SkerryError).what);
    });
  refused(() => placeWorkload('vm', 'application/wasm', offered), /no driver/);
  refused(() => placeWorkload('auto', 'application/x-tar', offered), /application\/x-tar/);
  refused(() => placeWorkload('container', 'application/wasm', new Set(['wasm', 'container'] as const)), /component/);
});

test.run();
