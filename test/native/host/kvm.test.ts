/** Whether guests run in hardware here is measured, since a device that opens does not say it. */
import * as assert from 'uvu/assert';
import { calibrateKvm, probeKvm } from '../../../native/host/index.ts';
import { hostSuite, noMoreFilesThan, openFiles } from '../../support/host-suite.ts';

const { test, run } = hostSuite('KVM');

test('what KVM offers here', ['root', '/dev/kvm'], async () => {
  const before = await openFiles();
  const probed = await probeKvm();
  assert.is(probed.apiVersion, 12);
  assert.ok(probed.makesMachines);
  assert.ok(probed.extensions.USER_MEMORY! > 0);
  assert.ok(probed.extensions.NR_VCPUS! >= 1);
  assert.is(probed.pvm, probed.modules.includes('kvm_pvm'));
  console.log(`cpu ${probed.cpu}, modules ${probed.modules.join(' ')}`);
  await noMoreFilesThan(before);
});

test('a guest is timed against native, in bounded time, while the node goes on', ['root', '/dev/kvm'], async () => {
  const before = await openFiles();
  let turns = 0;
  const timer = setInterval(() => turns++, 2);
  const started = performance.now();
  const timed = await calibrateKvm();
  const took = performance.now() - started;
  clearInterval(timer);
  console.log(
    `native ${timed.nativeNs.toFixed(2)} ns, guest ${timed.guestNs.toFixed(2)} ns, ${timed.ratio.toFixed(1)} times${timed.cutOff ? ' (cut off)' : ''}, in ${took.toFixed(0)} ms`,
  );
  assert.ok(took < 3000, `it took ${took} ms`);
  assert.ok(timed.nativeNs > 0.05 && timed.nativeNs < 20);
  // Without the CPU's help there is no hardware to run a guest in.
  const { cpu, pvm } = await probeKvm();
  if (cpu === null || pvm) assert.ok(timed.emulated);
  // It shows while the guest runs, not only before and after.
  if (took > 50) assert.ok(turns > 3, `${turns} turns of a timer`);
  await noMoreFilesThan(before);
});

run();
