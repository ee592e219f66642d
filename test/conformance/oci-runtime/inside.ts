/**
 * `runtimetest` of the suite as the process of containers that a whole node makes: it compares what it finds with the
 * config.json that hostd wrote for it.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openContainers } from '../../../daemon/hostd/open.ts';
import { skerry } from '../../support/cli.ts';
import { containersOf, removeContainers } from '../../support/container-node.ts';
import { busyboxLayer, LayoutBuilder, layerOf } from '../../support/image-builder.ts';
import { file, folder } from '../../support/tar-writer.ts';
import { discard, type ProcessNode, startProcess } from '../../support/test-node.ts';
import { parseTap, type TapResult } from './tap.ts';

/** What containers are made with, and of which image user. */
export const KINDS: readonly { readonly name: string; readonly flags: readonly string[]; readonly user?: string }[] = [
  { name: 'as it comes', flags: [] },
  { name: 'of a user that is not root', flags: [], user: '1000:1000' },
  { name: 'with a root to write to', flags: ['--writable', '8MiB'] },
  { name: 'with a volume', flags: ['--volume', 'store:/data:8MiB'] },
  { name: 'with its own limits', flags: ['--memory', '64MiB', '--cpus', '0.25', '--env', 'GREETING=hello'] },
  { name: 'with a way out', flags: ['--allow', 'example.com'] },
];

/** By kind. Throws when a container cannot be made. */
export async function insideContainers(programs: string): Promise<Map<string, TapResult[]>> {
  const place = mkdtempSync(join(tmpdir(), 'skerry-runtimetest-'));
  const node = await startProcess();
  const results = new Map<string, TapResult[]>();
  try {
    const program = file('runtimetest', readFileSync(join(programs, 'runtimetest')), { mode: 0o755 });
    // It waits at a pipe for the configuration, which is there only once its container is.
    const pipe = { name: 'config/config.json', type: '6', mode: 0o666 };
    const layers = [busyboxLayer(), layerOf([program, folder('config/'), pipe, folder('data/')])];
    for (const { name, flags, user } of KINDS) {
      const layout = new LayoutBuilder(join(place, `image-${results.size}`));
      layout.image(layers, 'v1', { Cmd: ['/runtimetest', '--path=/config'], ...(user && { User: user }) });
      results.set(name, await validated(node, `kind-${results.size}`, `oci:${layout.folder}:v1`, flags));
    }
    return results;
  } finally {
    await discard(node);
    await removeContainers(node.data);
    rmSync(place, { recursive: true, force: true });
  }
}

async function validated(node: ProcessNode, name: string, image: string, flags: readonly string[]) {
  const on = async (args: readonly string[], stdin = ''): Promise<string> => {
    const { status, stdout, stderr } = await skerry(args, { data: node.data, stdin });
    if (status !== 0) throw new Error(`skerry ${args[0]}: ${stderr}`);
    return stdout;
  };
  await on(['run', '-d', '--name', name, ...flags, image]);
  const host = await openContainers(node.data, () => {});
  const id = (await containersOf(node.data)).find((each) => each.startsWith(name)) as string;
  const config = readFileSync(join(host.folder, id, 'config.json'), 'utf8');
  await host.close();
  await on(['exec', name, 'sh', '-c', 'cat > /config/config.json'], asFound(config));
  for (;;) {
    const { processes } = JSON.parse(await on(['ps', '-a', '--json']));
    const found = processes.find((each: { name: string }) => each.name === name);
    if (found.state === 'exited') break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const log = await on(['logs', name, '--tail', '100000', '--json']);
  await on(['rm', name]);
  const text = log
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).text)
    .join('\n');
  const results = parseTap(text);
  // At its end it says how many there were.
  if (!new RegExp(`^1\\.\\.${results.length}$`, 'm').test(text))
    throw new Error(`runtimetest broke off: ${text.slice(-500)}`);
  return results;
}

/** Without paths that this kernel does not have: runtimetest gives up at those. */
function asFound(text: string): string {
  const config = JSON.parse(text);
  config.linux.readonlyPaths = config.linux.readonlyPaths.filter((path: string) => existsSync(path));
  return JSON.stringify(config);
}
