/** What a node does that takes more rights than an unprivileged user has: by itself, or by hostd. */
import { type FileAccess, ownFiles } from '../gateway/listener/certificate.ts';
import type { ListenAt } from '../gateway/listener/listen.ts';
import type { ImageBuilderHost } from '../images/build/dockerfile/builder-host.ts';
import type { ContainerHost } from '../runtime/drivers/container/host.ts';
import type { MachineHost } from '../runtime/drivers/microvm/host.ts';
import { openContainers, openImageBuilder } from './hostd/open.ts';
import { openMachines } from './hostd/open-machines.ts';
import { whyNoKvm } from './machine.ts';

export interface Privileges {
  /** Those that settings name (`FILE_SETTINGS`), and no others. */
  readonly files: FileAccess;
  /** Throws NoContainers. */
  openContainers(dataFolder: string, log: (message: string, error?: unknown) => void): Promise<ContainerHost>;
  /** After containers, whose unpacked layers they share. Throws NoMachines. */
  openMachines(dataFolder: string, log: (message: string, error?: unknown) => void): Promise<MachineHost>;
  /** Throws NO_IMAGE_BUILDER. */
  openImageBuilder(dataFolder: string): Promise<ImageBuilderHost>;
  /** An address of the node's settings, or a socket that listens there already. Throws the system's error. */
  bind(host: string, port: number): Promise<ListenAt>;
  /** Whether machines can be run with KVM: null, or the system's code of why not. */
  whyNoKvm(): Promise<string | null>;
}

/** Those of this process. */
export const ownPrivileges: Privileges = {
  files: ownFiles,
  openContainers,
  openMachines,
  openImageBuilder,
  bind: async (host, port) => ({ host, port }),
  whyNoKvm,
};
