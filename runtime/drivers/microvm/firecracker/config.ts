/** What Firecracker is told of one machine before it boots, and its command line. */
import type { StartMachine } from '../host.ts';
import { MACHINE_MAC } from '../network.ts';

/** Where Firecracker finds what it needs, in a root of its own. */
export interface FirecrackerPlaces {
  readonly program: string;
  readonly apiSocket: string;
  readonly kernel: string;
  readonly initramfs: string;
  readonly disk: string;
  /** The socket of the agent: Firecracker has vsock where QEMU has a serial port. */
  readonly vsock: string;
  /** Of the tap device, in the network namespace that it is started in. */
  readonly tap: string;
}

/** The first that a guest may have (vsock(7)); each machine is alone on its vsock. */
const GUEST_CID = 3;

export type Step = readonly [method: 'PUT', path: string, body: object];

/** Its seccomp filters are on unless one says otherwise: it has to be said of nothing. */
export function firecrackerCommandLine({ program, apiSocket }: FirecrackerPlaces, id: string): string[] {
  return [program, '--api-sock', apiSocket, '--id', id];
}

/** In this order. */
export function firecrackerConfig(machine: StartMachine, places: FirecrackerPlaces): Step[] {
  const { cpus, memoryBytes, kernelArguments, initramfs, layers } = machine;
  return [
    ['PUT', '/machine-config', { vcpu_count: cpus, mem_size_mib: memoryBytes / 2 ** 20, smt: false }],
    [
      'PUT',
      '/boot-source',
      {
        kernel_image_path: places.kernel,
        boot_args: `${kernelArguments} pci=off`,
        ...(initramfs !== null && { initrd_path: places.initramfs }),
      },
    ],
    ...(layers === null
      ? []
      : [
          [
            'PUT',
            '/drives/root',
            { drive_id: 'root', path_on_host: places.disk, is_root_device: false, is_read_only: true },
          ] as const,
        ]),
    ['PUT', '/network-interfaces/net', { iface_id: 'net', host_dev_name: places.tap, guest_mac: MACHINE_MAC }],
    ['PUT', '/vsock', { guest_cid: GUEST_CID, uds_path: places.vsock }],
    ['PUT', '/entropy', {}],
    ['PUT', '/balloon', { amount_mib: 0, deflate_on_oom: true }],
  ];
}
