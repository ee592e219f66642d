/** Images as containers on the machine's own kernel, by conmon and each runtime: asked over HTTP, paused, ended, out of memory. */
import { chownSync, readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RUNTIME_NAMES } from '../../../../daemon/hostd/oci-runtime.ts';
import { cgroupLayout } from '../../../../native/host/index.ts';
import type { Instance } from '../../../../runtime/driver.ts';
import { ContainerNode, whyNoContainers } from '../../../support/container-node.ts';
import { failure } from '../../../support/failure.ts';
import { busyboxLayer } from '../../../support/image-builder.ts';
import { inside, shellConfig, shellLayers } from '../../../support/shell-container.ts';
import { testUnless } from '../../../support/test-unless.ts';
import { conformance, get, httpd, pages, pause, shell, up } from '../image/conformance.ts';

const suites = await Promise.all(
  RUNTIME_NAMES.map(async (name) => {
    return { runtimes: [name], tests: suite(`containers by ${name}`), why: await whyNoContainers([name]) };
  }),
);
const test = (what: string, work: (node: ContainerNode) => Promise<void>) => {
  for (const { runtimes, tests, why } of suites) {
    testUnless(tests, why, what, () => ContainerNode.during(work, { runtimes }));
  }
};

conformance(test, {
  codes: { notListening: 'CONTAINER_NOT_LISTENING', ended: 'CONTAINER_ENDED' },
  smallMemory: '16MiB',
  startTimeout: '300ms',
});

test('its mounts end with it', async (node) => {
  const instance = await up(node);
  await instance.stop(1000);
  assert.not.match(readFileSync('/proc/self/mountinfo', 'utf8'), new RegExp(node.host.folder));
});

test('one that takes more memory than it may ends alone, and is told as that', async (node) => {
  const instance = await up(
    node,
    shell('(sleep 0.3; a=x; while true; do a=$a$a; done) & exec httpd -f -p 8080 -h /www'),
    {
      memory: '16MiB',
    },
  );
  const script = shell('httpd -p 8080 -h /www; sleep 0.3; a=x; while true; do a=$a$a; done');
  const greedy = await up(node, script, { memory: '16MiB' });
  const exit = await greedy.exited;
  assert.is(exit.reason, 'out-of-memory');
  assert.is((await get(instance)).status, 200, 'another one goes on');
});

test('one that hears the signal to stop has the time to end well; one that does not is ended at once', async (node) => {
  const script = shell('trap "echo ending well; exit 0" TERM; httpd -p 8080 -h /www; while true; do sleep 0.05; done');
  const polite = await up(node, script);
  await polite.stop(20_000);
  assert.match(await node.log(polite.revision.workload), /ending well/);
  const deaf = await up(node);
  const began = performance.now();
  await deaf.stop(20_000);
  assert.ok(performance.now() - began < 10_000);
});

test('the kernel has the limits that its settings say', async (node) => {
  const { v1, v2, mode } = await cgroupLayout();
  const instance = await up(node, httpd, { memory: '48MiB', cpus: 0.5, priority: 4 });
  const { id } = instance;
  const says = (mount: string | undefined, name: string) =>
    readFileSync(`${mount}/skerry/${id}/${name}`, 'utf8').trim();
  const memory = String(48 * 2 ** 20);
  if (mode === 'v2') {
    const files = ['memory.max', 'memory.swap.max', 'cpu.max', 'cpu.weight', 'pids.max'];
    assert.equal(
      files.map((name) => says(v2?.mount, name)),
      [memory, '0', '10000 20000', '100', '512'],
    );
  } else {
    assert.is(says(v1.get('memory'), 'memory.limit_in_bytes'), memory);
    assert.is(says(v1.get('cpu'), 'cpu.cfs_quota_us'), '10000');
    assert.is(says(v1.get('cpu'), 'cpu.shares'), '1024');
    assert.is(says(v1.get('pids'), 'pids.max'), '512');
  }
  // The share of the CPU can be changed while it runs.
  await instance.resize({ ...instance.revision.limits, cpuMillicores: 250 });
  const [quota, period] =
    mode === 'v2'
      ? says(v2?.mount, 'cpu.max').split(' ')
      : ['cpu.cfs_quota_us', 'cpu.cfs_period_us'].map((name) => says(v1.get('cpu'), name));
  assert.is(Number(quota) / Number(period), 0.25);
  assert.is((await get(instance)).status, 200);
});

test("the host's devices stay the host's, whatever the root of a container asks for", async (node) => {
  // Others on this machine may have given it away.
  chownSync('/dev/null', 0, 0);
  const instance = await node.start(await node.revision(shellLayers(), shellConfig()));
  // Harmless, and refused all the same to who does not own it.
  const ask = (name: string) => inside(instance, `chmod 666 /dev/${name}; busybox stat -c %u /dev/${name}`);
  for (const name of ['null', 'zero', 'full', 'random', 'urandom', 'tty']) {
    assert.match(await ask(name), /not permitted\n65534\n$/);
  }
});

test('it can be reached by the node alone: nothing listens on the host', async (node) => {
  await up(node, { ...httpd, Cmd: ['httpd', '-f', '-p', '48123', '-h', '/www'] }, { port: 48_123 });
  const listening = ['tcp', 'tcp6'].map((name) => readFileSync(`/proc/net/${name}`, 'utf8')).join('');
  assert.not.match(listening, new RegExp(`:${(48_123).toString(16).toUpperCase()} `));
});

const chatty = shell(
  'i=0; while true; do echo "line $i"; i=$((i+1)); sleep 0.02; done & exec httpd -f -p 8080 -h /www',
);

for (const [what, before] of [
  ['a container', async () => {}],
  ['a paused container', (instance: Instance) => instance.pause()],
] as const) {
  test(`${what} that a killed node left is taken over by the next: the same one, and no line of its log lost or twice`, async (node) => {
    const revision = await node.revision([busyboxLayer(), pages], chatty);
    const first = await node.start(revision);
    await get(first);
    await before(first);
    await node.driver.close();
    await node.logs.close();
    await pause(300);
    const next = await ContainerNode.open(node.folder);
    await next.driver.recover((workload, id) => workload === revision.workload && id === revision.id);
    const second = await next.start(revision);
    assert.is(second.id, first.id);
    assert.is((await get(second)).status, 200);
    await pause(200);
    await second.stop(0);
    assert.equal(next.left(), []);
    const numbers = (await next.log(revision.workload)).match(/(?<=line )\d+/g)!.map(Number);
    assert.equal(
      numbers,
      numbers.map((_, i) => i),
    );
  });
}

test('what a killed node left and nobody wants is removed by the next, its last words are kept', async (node) => {
  const instance = await up(node, chatty);
  await get(instance);
  await node.driver.close();
  await node.logs.close();
  const next = await ContainerNode.open(node.folder);
  const { workload } = instance.revision;
  const lines = async () => (await next.log(workload)).split('\n').length;
  const before = await lines();
  await pause(100);
  await next.driver.recover(() => false);
  assert.equal(next.left(), []);
  assert.ok((await lines()) > before);
  assert.ok(await failure(get(instance)));
});

test('one that a killed node left and that has ended since is started anew', async (node) => {
  const revision = await node.revision([busyboxLayer(), pages], httpd);
  const first = await node.start(revision);
  await node.driver.close();
  const pid = Number(readFileSync(`${node.host.folder}/${first.id}/pid`, 'utf8'));
  process.kill(pid, 'SIGKILL');
  await pause(100);
  const next = await ContainerNode.open(node.folder);
  await next.driver.recover(() => true);
  const second = await next.start(revision);
  assert.is.not(second.id, first.id);
  assert.is((await get(second)).status, 200);
  await second.stop(0);
  assert.equal(next.left(), []);
});

for (const { tests } of suites) tests.run();
