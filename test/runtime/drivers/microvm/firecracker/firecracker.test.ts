/** What Firecracker is told, and what is made of its answers: over HTTP on a Unix socket, since its guests need hardware. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { API_LIMITS, FirecrackerApi } from '../../../../../runtime/drivers/microvm/firecracker/api.ts';
import { firecrackerCommandLine } from '../../../../../runtime/drivers/microvm/firecracker/config.ts';
import { FirecrackerMonitor } from '../../../../../runtime/drivers/microvm/firecracker/monitor.ts';
import type { StartMachine } from '../../../../../runtime/drivers/microvm/host.ts';
import { failure } from '../../../../support/failure.ts';

const firecracker = suite('Firecracker');

const places = {
  program: '/firecracker',
  apiSocket: '/api',
  kernel: '/kernel',
  initramfs: '/initramfs',
  disk: '/disk',
  vsock: '/vsock',
  tap: 'wire',
};
const template = { state: '/template/state', memory: '/template/memory' };
const machine: StartMachine = {
  id: 'm',
  labels: { workload: 'w', revision: 'r' },
  kernel: 'sha256:k',
  initramfs: 'sha256:i',
  kernelArguments: 'quiet',
  layers: ['sha256:l'],
  cpus: 2,
  memoryBytes: 128 * 2 ** 20,
  cpuMillicores: 1500,
  cpuWeight: 100,
  outbound: false,
  memory: { kind: 'own' },
};
const DESCRIPTION = '{"id":"m","state":"Not started","vmm_version":"1.7.0","app_name":"Firecracker"}';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;
const ordinary: Answer = (request, response) => {
  if (request.method === 'GET') response.end(DESCRIPTION);
  else response.writeHead(204).end();
};

/** What it was told: `METHOD PATH BODY` each. */
async function told(answer: Answer, work: (api: FirecrackerApi, said: string[]) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-firecracker-'));
  const said: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (piece: Buffer) => {
      body += piece.toString();
    });
    request.on('end', () => {
      said.push(`${request.method} ${request.url} ${body}`.trim());
      answer(request, response);
    });
  });
  const path = join(folder, 'api');
  await new Promise<void>((resolve) => server.listen(path, resolve));
  try {
    await work(new FirecrackerApi(path), said);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true });
  }
}

firecracker('a machine is described before it starts, and paused, resumed and given less memory as it runs', () =>
  told(ordinary, async (api, said) => {
    const monitor = await FirecrackerMonitor.open(api, machine, places, template);
    for (const step of ['run', 'stop', 'run'] as const) await monitor[step]();
    await monitor.setMemory(96 * 2 ** 20);
    await monitor.limitDisk({ bytesPerSecond: 1000, operationsPerSecond: 10 });
    monitor.close();
    assert.equal(said, [
      'GET /',
      'PUT /machine-config {"vcpu_count":2,"mem_size_mib":128,"smt":false}',
      'PUT /boot-source {"kernel_image_path":"/kernel","boot_args":"quiet pci=off","initrd_path":"/initramfs"}',
      'PUT /drives/root {"drive_id":"root","path_on_host":"/disk","is_root_device":false,"is_read_only":true}',
      'PUT /network-interfaces/net {"iface_id":"net","host_dev_name":"wire","guest_mac":"52:54:00:73:6b:79"}',
      'PUT /vsock {"guest_cid":3,"uds_path":"/vsock"}',
      'PUT /entropy {}',
      'PUT /balloon {"amount_mib":0,"deflate_on_oom":true}',
      'PUT /actions {"action_type":"InstanceStart"}',
      'PATCH /vm {"state":"Paused"}',
      'PATCH /vm {"state":"Resumed"}',
      'PATCH /balloon {"amount_mib":32}',
      'PATCH /drives/root {"drive_id":"root","rate_limiter":{"bandwidth":{"size":1000,"refill_time":1000},"ops":{"size":10,"refill_time":1000}}}',
    ]);
  }),
);

firecracker('a template is written, and another machine goes on from it', () =>
  told(ordinary, async (api, said) => {
    const made = await FirecrackerMonitor.open(api, machine, places, template);
    await made.save();
    made.close();
    said.length = 0;
    const clone = { ...machine, memory: { kind: 'clone', template: 'x' } } as const;
    const monitor = await FirecrackerMonitor.open(api, clone, places, template);
    await monitor.restore();
    await monitor.run();
    monitor.close();
    assert.equal(said, [
      'GET /',
      'PUT /snapshot/load {"snapshot_path":"/template/state","mem_backend":{"backend_type":"File","backend_path":"/template/memory"},"resume_vm":false}',
      'PATCH /vm {"state":"Resumed"}',
    ]);
  }),
);

firecracker('its command line names the socket and nothing that weakens it', () => {
  assert.equal(firecrackerCommandLine(places, 'm'), ['/firecracker', '--api-sock', '/api', '--id', 'm']);
});

const bad: [string, Answer, string][] = [
  ['what it refuses', (_, response) => response.writeHead(400).end('{"fault_message":"no kernel"}'), 'MONITOR_REFUSED'],
  ['an answer that is no JSON', (_, response) => void response.end('hello'), 'MONITOR_NONSENSE'],
  ['a description of another form', (_, response) => void response.end('{"state":"Happy"}'), 'MONITOR_NONSENSE'],
  ['a failure without words', (_, response) => response.writeHead(500).end(), 'MONITOR_NONSENSE'],
  ['a redirect', (_, response) => response.writeHead(302, { location: '/' }).end(), 'MONITOR_NONSENSE'],
  [
    'an answer without end',
    (_, response) => void response.end('x'.repeat(API_LIMITS.bodyBytes + 1)),
    'MONITOR_NONSENSE',
  ],
  ['an answer that breaks off', (request) => void request.socket.destroy(), 'MONITOR_GONE'],
];
for (const [what, answer, code] of bad) {
  firecracker(`${what} is told as that`, () =>
    told(answer, async (api) => {
      assert.is((await failure(api.describe())).code, code);
    }),
  );
}

firecracker('one that does not answer is given up; one that is not there is told', () =>
  told(
    () => {},
    async (api) => {
      assert.is((await failure(api.send('PUT', '/actions', {}, 20))).code, 'MONITOR_SILENT');
      assert.is((await failure(new FirecrackerApi('/nowhere').describe())).code, 'MONITOR_GONE');
    },
  ),
);

firecracker.run();
