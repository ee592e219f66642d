/** What runs in no sandbox that the node chose for it gets the next heavier one, and the node says so. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { revisionOf } from '../../../runtime/workload/revision-of.ts';
import { withPlane } from '../../support/control-plane.ts';
import { FakeDriver } from '../../support/fake-driver.ts';

const IMAGE = 'application/vnd.oci.image.manifest.v1+json';

for (const isolation of ['auto', 'container'] as const) {
  test(`an image whose container keeps failing, deployed as ${isolation}`, () =>
    withPlane(async (plane) => {
      const [containers, machines] = [new FakeDriver('container'), new FakeDriver('vm')];
      plane.drivers.set('container', containers).set('vm', machines);
      containers.onStart = () => {
        throw new Error('it needs a kernel of its own');
      };
      const { digest } = containers.define('app');
      machines.define('app');
      const revision = revisionOf(
        'app',
        { digest, mediaType: IMAGE },
        'app',
        { isolation },
        new Set(['wasm', 'container', 'vm'] as const),
      );
      assert.is(revision.isolation, 'container');
      await plane.desired.deploy([{ name: 'app', revisions: [{ revision, percent: 100 }], settings: {} }]);
      await containers.happened('failed', 3);
      const machine = isolation === 'auto';
      if (machine) await plane.reconciler.until(() => machines.instances.length > 0, 20_000);
      assert.is((await plane.get('/app')).status, machine ? 200 : 503);
      const told = plane.decisions.of('app').map(({ decision, inputs }) => [decision, inputs.failed]);
      assert.equal(told, machine ? [['vm in place of container', 'container']] : []);
    }));
}

test.run();
