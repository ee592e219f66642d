/** hostd at the mercy of whoever took over the node: it refuses or does what any node may ask, and nothing else. */
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { Settings } from '../../../daemon/config.ts';
import { closeAll, MAX_BYTES, type Message, Messages, packets } from '../../../daemon/hostd/messages.ts';
import { NoContainers, openContainers } from '../../../daemon/hostd/open.ts';
import { NoMachines } from '../../../daemon/hostd/open-machines.ts';
import { CALLS, type CallName } from '../../../daemon/hostd/protocol.ts';
import { HostdServer } from '../../../daemon/hostd/server.ts';
import { ownFiles } from '../../../gateway/listener/certificate.ts';
import { Channel, socketPair } from '../../../native/host/index.ts';
import { hostSuite, noMoreFilesThan, openFiles } from '../../support/host-suite.ts';

const { test, run } = hostSuite('what hostd is asked');

interface Said {
  readonly serial?: number;
  readonly value?: unknown;
  readonly error?: { readonly code?: string; readonly message: string };
  readonly bytes: Buffer;
}

/** hostd over this machine, and whoever has the node's end of its channel. */
class Taken {
  readonly folder = mkdtempSync(join(tmpdir(), 'skerry-hostd-'));
  readonly server: HostdServer;
  readonly log: string[] = [];
  readonly said: Said[] = [];
  closed = false;
  /** Where containers have their folders; empty when there can be none. */
  containers = '';
  readonly #messages: Messages;
  #waiting = new Map<number, (said: Said) => void>();
  #serial = 1_000_000;

  private constructor(theirs: number, own: number) {
    writeFileSync(join(this.folder, 'cert.pem'), 'the certificate');
    const settings = {
      data: this.folder,
      listen: '127.0.0.1:0',
      registry: '127.0.0.1:0',
      'tls-cert': join(this.folder, 'cert.pem'),
    };
    this.server = new HostdServer(theirs, {
      settings: settings as Settings,
      files: ownFiles,
      openContainers: async () => {
        const host = await openContainers(this.folder, () => {});
        this.containers = host.folder;
        return host;
      },
      openMachines: () => Promise.reject(new NoMachines('not here', [])),
      openBuilder: () => Promise.reject(new Error('not here')),
      listen: () => Promise.reject(new Error('not here')),
      whyNoKvm: async () => 'ENOENT',
      onReady: () => {},
      log: (message) => this.log.push(message),
    });
    this.#messages = new Messages(own, {
      onMessage: ({ document, bytes, fds }: Message) => {
        closeAll(fds);
        const said = { ...(document as object), bytes } as Said;
        this.said.push(said);
        this.#waiting.get(said.serial ?? -1)?.(said);
      },
      onClose: () => {
        this.closed = true;
      },
    });
  }

  static async open(): Promise<Taken> {
    const [theirs, own] = await socketPair();
    return new Taken(theirs, own);
  }

  send(document: unknown, fds: readonly number[] = []): Promise<void> {
    return this.#messages.send(document, undefined, fds);
  }

  async ask(call: string, args: unknown, fds: readonly number[] = []): Promise<Said> {
    const serial = ++this.#serial;
    const answered = new Promise<Said>((resolve) => this.#waiting.set(serial, resolve));
    await this.send({ call, serial, args }, fds);
    return answered;
  }

  async close(): Promise<void> {
    this.#messages.close();
    await this.server.closed;
    await this.server.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function taken(work: (hostd: Taken) => Promise<void>): Promise<void> {
  const hostd = await Taken.open();
  try {
    await work(hostd);
  } finally {
    await hostd.close();
  }
}

const digest = `sha256:${'a'.repeat(64)}`;
const spec = {
  hostname: 'w',
  command: ['/bin/true'],
  env: ['A=b'],
  directory: '/',
  user: { uid: 0, gid: 0, groups: [] },
  memoryBytes: 64 * 2 ** 20,
  cpuMillicores: 500,
  cpuWeight: 100,
  pids: 100,
  scratch: [],
  writableRoot: false,
};
const start = {
  id: 'w-1',
  labels: { workload: 'w', revision: 'r' },
  layers: [digest],
  writableBytes: 65_536,
  spec,
  outbound: null,
  volumes: [],
};

const machine = {
  id: 'w-1',
  labels: { workload: 'w', revision: 'r' },
  kernel: digest,
  initramfs: digest,
  kernelArguments: 'quiet panic=-1',
  layers: [digest],
  cpus: 1,
  memoryBytes: 64 * 2 ** 20,
  cpuMillicores: 500,
  cpuWeight: 100,
  outbound: false,
  memory: { kind: 'own' },
};
const template = 'b'.repeat(64);

/** One of each call, as the node would ask. */
const GOOD: Record<CallName, unknown> = {
  settings: {},
  ready: { gateway: 'http://127.0.0.1:1', registry: null },
  'file.read': { setting: 'tls-cert' },
  'file.state': { setting: 'tls-cert' },
  listen: { setting: 'admin' },
  kvm: {},
  'machines.open': {},
  'machines.start': machine,
  'machine.sockets': { id: 'w-1', count: 16 },
  'machine.outbound': { id: 'w-1' },
  'machine.pause': { id: 'w-1' },
  'machine.resume': { id: 'w-1' },
  'machine.usage': { id: 'w-1' },
  'machine.limit': { id: 'w-1', cpuMillicores: 500 },
  'machine.keepTemplate': { id: 'w-1', key: template },
  'machine.remove': { id: 'w-1' },
  'machines.hasFile': { digest },
  'machines.putFile': { digest },
  'machines.listFiles': {},
  'machines.deleteFile': { digest },
  'machines.makeDisk': { layers: [digest] },
  'machines.keepDisks': { images: [[digest]] },
  'machines.findTemplate': { key: template },
  'machines.listTemplates': {},
  'machines.deleteTemplate': { key: template },
  'containers.open': {},
  'containers.start': start,
  'containers.attach': start,
  'containers.lacks': {},
  'containers.recover': {},
  'container.follow': { id: 'w-1' },
  'container.sockets': { id: 'w-1', count: 16 },
  'container.outbound': { id: 'w-1' },
  'container.signal': { id: 'w-1', name: 'SIGTERM' },
  'container.exec': {
    id: 'w-1',
    execution: 1,
    process: { command: ['/bin/true'], env: [], directory: '/', user: { uid: 0, gid: 0, groups: [] } },
  },
  'container.kill': { id: 'w-1', execution: 1 },
  'container.pause': { id: 'w-1' },
  'container.resume': { id: 'w-1' },
  'container.resize': { id: 'w-1', cpuMillicores: 250 },
  'container.usage': { id: 'w-1' },
  'container.remove': { id: 'w-1' },
  'volumes.list': {},
  'volumes.delete': { name: 'none' },
  'builder.open': {},
  'builder.name': { image: 'a/b:c', key: digest },
  'builder.load': { key: digest },
  'builder.build': {
    build: 1,
    options: {
      dockerfile: 'FROM scratch',
      args: {},
      target: null,
      fresh: false,
      epoch: null,
      secrets: {},
      network: false,
    },
  },
  'builder.cancel': { build: 1 },
  'builder.prune': { maxBytes: 1, maxAgeMs: 1 },
  'layers.has': { diffId: digest },
  'layers.unpack': { diffId: digest },
  'layers.list': {},
  'layers.delete': { diffId: digest },
  'layers.accounts': { layers: [digest] },
};

test('only the files and addresses of the settings are given', [], () =>
  taken(async (hostd) => {
    assert.is((await hostd.ask('file.read', { setting: 'tls-cert' })).bytes.toString(), 'the certificate');
    for (const setting of ['tls-key', 'data', 'listen', '/etc/shadow', '__proto__', 'constructor', '']) {
      assert.is((await hostd.ask('file.read', { setting })).error?.code, 'HOSTD_CALL_INVALID', setting);
    }
    for (const setting of ['admin', 'data', 'tls-cert', 'toString', '0.0.0.0:22']) {
      assert.is((await hostd.ask('listen', { setting })).error?.code, 'HOSTD_CALL_INVALID', setting);
    }
  }),
);

const changed = (change: object) => ({ ...start, ...change });
const ofSpec = (change: object) => changed({ spec: { ...spec, ...change } });
const hostile: [string, CallName, unknown][] = [
  ['a folder of the host', 'containers.start', ofSpec({ binds: [{ source: '/', path: '/host', writable: true }] })],
  ['a field that no spec has', 'containers.start', ofSpec({ privileged: true })],
  ['a name that leaves its folder', 'containers.start', changed({ id: '../../etc' })],
  ['a name that is hidden', 'containers.start', changed({ id: '.crun' })],
  ['a layer by its path', 'containers.start', changed({ layers: ['/etc'] })],
  ['a digest that leaves its folder', 'containers.start', changed({ layers: ['sha256:../../../etc'] })],
  ['a user beyond those of containers', 'containers.start', ofSpec({ user: { uid: 65_536, gid: 0, groups: [] } })],
  ['a user that is negative', 'containers.start', ofSpec({ user: { uid: -1, gid: 0, groups: [] } })],
  ['no memory limit', 'containers.start', ofSpec({ memoryBytes: -1 })],
  ['more processes than a machine has', 'containers.start', ofSpec({ pids: 10_000_000 })],
  ['a program with a NUL', 'containers.start', ofSpec({ command: ['/bin/sh\0-c'] })],
  ['a relative folder to begin in', 'containers.start', ofSpec({ directory: '../..' })],
  ['memory at a relative place', 'containers.start', ofSpec({ scratch: [{ path: 'proc', bytes: 1 }] })],
  ['a host name that is none', 'containers.start', ofSpec({ hostname: 'a/b' })],
  ['a workload that is a path', 'containers.start', changed({ labels: { workload: '../x', revision: 'r' } })],
  ['loopback as an address elsewhere', 'containers.start', changed({ outbound: ['127.0.0.1'] })],
  ['an address that is a name', 'containers.start', changed({ outbound: ['localhost'] })],
  ['an address that is none', 'containers.start', changed({ outbound: ['0.0.0.0'] })],
  ['addresses without end', 'containers.start', changed({ outbound: Array(65).fill('10.0.0.1') })],
  ['a volume by its path', 'containers.start', changed({ volumes: [{ name: '../layers', path: '/x', bytes: null }] })],
  ['a volume that is a path', 'volumes.delete', { name: '../layers' }],
  [
    'a secret that is a path',
    'builder.build',
    {
      build: 1,
      options: {
        dockerfile: '',
        args: {},
        target: null,
        fresh: false,
        epoch: null,
        secrets: { '../../x': 'y' },
        network: false,
      },
    },
  ],
  ['an image that is an option', 'builder.name', { image: '--all', key: digest }],
  ['the root of all layers', 'layers.delete', { diffId: '' }],
  ['a path for a layer', 'layers.delete', { diffId: '../content' }],
  ['the accounts of the host', 'layers.accounts', { layers: ['/'] }],
  ['a signal that is an option', 'container.signal', { id: 'w-1', name: '--all' }],
  ['more sockets than go with a message', 'container.sockets', { id: 'w-1', count: 17 }],
];
test('what no node may ask is refused', [], () =>
  taken(async (hostd) => {
    for (const [what, call, args] of hostile) {
      assert.is((await hostd.ask(call, args)).error?.code, 'HOSTD_CALL_INVALID', what);
    }
  }),
);

test(
  'what a process in a container reads and writes are pipes: no file of the host is given to its root',
  ['root'],
  () =>
    taken(async (hostd) => {
      await hostd.ask('containers.open', {});
      const file = join(hostd.folder, 'of-the-host');
      writeFileSync(file, '');
      for (const path of [file, hostd.folder, '/dev/null', '/etc/passwd']) {
        const fd = openSync(path, 'r');
        for (const call of ['containers.attach', 'container.exec'] as const) {
          const { error } = await hostd.ask(call, GOOD[call], [fd, fd, fd]);
          assert.is(error?.code, 'HOSTD_CALL_INVALID', `${call} ${path}`);
        }
        closeSync(fd);
      }
      assert.is(statSync(file).uid, 0);
      assert.not(existsSync(hostd.containers));
    }),
);

test('calls about containers that are not there are answered so, removing one is no failure', [], () =>
  taken(async (hostd) => {
    assert.is((await hostd.ask('container.usage', { id: 'none' })).error?.code, 'CONTAINER_GONE');
    assert.is((await hostd.ask('container.remove', { id: 'none' })).error, undefined);
    assert.is((await hostd.ask('layers.list', {})).error?.code, 'HOSTD_CALL_INVALID', 'before they were opened');
  }),
);

test('a layer that is no file, or no archive, is refused and nothing of it stays', ['root'], () =>
  taken(async (hostd) => {
    const opened = await hostd.ask('containers.open', {});
    if ((opened.value as { missing?: string }).missing !== undefined) {
      console.log(
        `skipped: the half of it that needs containers, since ${(opened.value as { missing: string }).missing}`,
      );
      return;
    }
    for (const path of ['/dev/zero', '/', '/proc/self/mem', '/etc/hostname']) {
      const fd = openSync(path, 'r');
      const { error } = await hostd.ask('layers.unpack', { diffId: digest }, [fd]);
      closeSync(fd);
      assert.ok(error, path);
    }
    assert.equal((await hostd.ask('layers.list', {})).value, []);
    assert.equal(readdirSync(join(hostd.folder, 'layers', 'incoming')), []);
  }),
);

const broken: [string, (channel: Channel) => Promise<void>][] = [
  ['a packet with an unknown mark', (channel) => channel.send(Buffer.from([7, 0, 0, 0, 2, 0x7b, 0x7d]))],
  ['a length beyond the message', (channel) => channel.send(Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 0x7b, 0x7d]))],
  ['no JSON', (channel) => channel.send(Buffer.from([0, 0, 0, 0, 2, 0x7b, 0x7b]))],
  ['no call', (channel) => channel.send(packets(['settings'])[0]!)],
  ['a call of the prototype', (channel) => channel.send(packets({ call: 'constructor', serial: 1, args: {} })[0]!)],
  ['a call without a serial', (channel) => channel.send(packets({ call: 'settings', args: {} })[0]!)],
  ['a piece that is not full', (channel) => channel.send(Buffer.from([1, 1, 2, 3]))],
  [
    'a message without an end',
    async (channel) => {
      const piece = Buffer.alloc(65_536, 1);
      for (let sent = 0; sent <= MAX_BYTES + piece.length; sent += piece.length) await channel.send(piece);
    },
  ],
];
for (const [what, send] of broken) {
  test(`${what} ends the channel, which ends the node`, [], async () => {
    const [theirs, own] = await socketPair();
    const server = new HostdServer(theirs, {
      settings: {} as Settings,
      files: ownFiles,
      openContainers: () => Promise.reject(new NoContainers('not here', [])),
      openMachines: () => Promise.reject(new NoMachines('not here', [])),
      openBuilder: () => Promise.reject(new Error('not here')),
      listen: () => Promise.reject(new Error('not here')),
      whyNoKvm: async () => 'ENOENT',
      onReady: () => {},
      log: () => {},
    });
    const channel = new Channel(own, { onMessage: () => {}, onClose: () => {} });
    await send(channel).catch(() => {});
    assert.ok((await server.closed) instanceof Error, what);
    channel.close();
  });
}

/** Numbers from a seed (xorshift32), so that what fails can be repeated. */
function randomness(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const WEIRD = [
  null,
  true,
  -1,
  0,
  2 ** 53,
  1e308,
  '',
  '/',
  '..',
  '\0',
  'x'.repeat(70_000),
  [],
  {},
  [[]],
  digest,
  'w-1',
  '/etc/passwd',
];

/** A copy with one value of it, at any depth, exchanged, taken away or added to. */
function mutated(value: unknown, random: (below: number) => number): unknown {
  const weird = () => WEIRD[random(WEIRD.length)];
  if (Array.isArray(value)) {
    const copy = [...value];
    const at = random(copy.length + 1);
    if (at === copy.length) copy.push(weird());
    else copy[at] = random(3) === 0 ? weird() : mutated(copy[at], random);
    return copy;
  }
  if (value === null || typeof value !== 'object') return weird();
  const copy: Record<string, unknown> = { ...value };
  const keys = Object.keys(copy);
  const key = keys[random(keys.length + 1)] ?? ['binds', '__proto__', 'extra'][random(3)]!;
  if (random(6) === 0) delete copy[key];
  else copy[key] = random(3) === 0 ? weird() : mutated(copy[key], random);
  return copy;
}

test('20,000 calls gone wrong are answered one by one; nothing is made and nothing stays open', ['root'], async () => {
  const seed = Number(process.env.FUZZ_SEED ?? 20_261_125);
  const random = randomness(seed);
  const files = await openFiles();
  const names = Object.keys(CALLS) as CallName[];
  await taken(async (hostd) => {
    await hostd.ask('containers.open', {});
    const fd = openSync('/dev/null', 'r');
    const asked = 20_000;
    const answers: Promise<unknown>[] = [];
    for (let i = 0; i < asked; i++) {
      const call = names[random(names.length)]!;
      // A mutation may leave a call good; one that starts a container is not what is looked at here.
      const args =
        call === 'containers.start' || call === 'containers.attach'
          ? mutated(changed({ layers: ['none'] }), random)
          : mutated(GOOD[call], random);
      const fds = Array.from({ length: random(4) === 0 ? random(17) : CALLS[call].fds }, () => fd);
      answers.push(hostd.ask(call, args, fds));
      if (i % 50 === 0) await Promise.all(answers.splice(0));
    }
    await Promise.all(answers);
    closeSync(fd);
    assert.not(hostd.closed, `seed ${seed}`);
    assert.equal((await hostd.ask('layers.list', {})).value ?? [], []);
    assert.not(existsSync(hostd.containers));
  });
  await noMoreFilesThan(files, `seed ${seed}`);
});

run();
