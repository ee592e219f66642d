/** What this machine lacks of what some containers need: each tried as such a container would. */
import { open } from 'node:fs/promises';
import { SkerryError } from '../../errors/skerry-error.ts';
import type { HostLack } from '../../runtime/drivers/container/host.ts';
import { NetworkNamespace } from './network-namespaces.ts';
import { BUILDAH, installCommand, MKFS, missingOf, RUNTIMES } from './packages.ts';

const LOOP_CONTROL = '/dev/loop-control';

export async function hostLacks(): Promise<HostLack[]> {
  const found = await Promise.all([
    outboundLack(),
    loopLack(),
    programLack('volumes', MKFS),
    programLack('builds of Dockerfiles', BUILDAH),
    programLack('builds of Dockerfiles', RUNTIMES.crun),
  ]);
  return found.filter((lack) => lack !== null);
}

async function outboundLack(): Promise<HostLack | null> {
  let network: NetworkNamespace | null = null;
  try {
    network = await NetworkNamespace.make();
    await network.openOutbound();
    return null;
  } catch (error) {
    const advice =
      'for --allow use Linux 5.9 or newer with CONFIG_BPF_SYSCALL, and start the node with all rights of root';
    return { what: '--allow', why: error instanceof SkerryError ? error.what : (error as Error).message, advice };
  } finally {
    await network?.close();
  }
}

async function loopLack(): Promise<HostLack | null> {
  try {
    // Where the driver is a module the kernel loads it now.
    await (await open(LOOP_CONTROL, 'r+')).close();
    return null;
  } catch (error) {
    const why = `${LOOP_CONTROL} cannot be opened (${(error as NodeJS.ErrnoException).code})`;
    return { what: 'volumes', why, advice: 'for --volume load the driver of loop devices: modprobe loop' };
  }
}

async function programLack(what: string, path: string): Promise<HostLack | null> {
  if (missingOf([path]).length === 0) return null;
  return { what, why: `${path} is missing`, advice: installCommand([path]) };
}
