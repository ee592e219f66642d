import * as assert from 'uvu/assert';
import { SkerryError } from '../../../../../errors/skerry-error.ts';
import { guestComponent } from '../../../../support/guests.ts';
import type { Bench } from './bench.ts';

/** An engine that does not link what a function may be given beside WASI says so before anything is served. */
export function withoutServices(engine: string, bench: Bench): void {
  const test = bench.suite(`${engine}: without configuration, storage and log levels`);

  test('a component that imports them is refused at deploy, and it is said which', async () => {
    const error = await bench.engine.compile(await guestComponent('services')).then(
      () => null,
      (thrown) => thrown,
    );
    assert.instance(error, SkerryError);
    assert.is(error.code, 'IMPORT_NOT_OFFERED');
    assert.match(error.message, /wasi:keyvalue\/store@0\.2\.0-draft2/);
  });

  test.run();
}
