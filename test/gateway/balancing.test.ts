/** Which instance gets a request, as clients meet it: several instances of one workload behind the gateway. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { proxyErrors } from '../../runtime/proxy/errors.ts';
import { withPlane } from '../support/control-plane.ts';

test('an instance that breaks off every request is left alone; the others go on serving', () =>
  withPlane(async (plane) => {
    plane.driver.replicated = true;
    await plane.settledDeploy('w', 'w', { min: 3, concurrency: 4 }, ({ reply }, instance) => {
      if (instance.id === 'fake-1') throw proxyErrors.UPSTREAM_BROKE_OFF('w', 'it ended');
      reply.send(200, [], Buffer.from(instance.id));
    });
    const { reconciler } = plane;
    await reconciler.until(
      () => reconciler.current.workloads.get('w')!.traffic[0]!.revision.instances.length === 3,
      20_000,
    );
    const statuses: number[] = [];
    for (let i = 0; i < 40; i++) statuses.push((await plane.get('/w')).status);
    assert.equal(statuses.slice(0, 5), [502, 502, 502, 502, 502]);
    assert.ok(
      statuses.slice(5).every((status) => status === 200),
      statuses.join(),
    );
  }));

test.run();
