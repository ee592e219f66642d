/** The command line of QEMU for one machine: its `microvm`, with virtio over memory-mapped registers and nothing else. */

import type { Acceleration, StartMachine } from '../host.ts';
import { MACHINE_MAC } from '../network.ts';

/** Where QEMU finds what it needs, in a root of its own. */
export interface QemuPlaces {
  readonly program: string;
  readonly firmware: string;
  readonly kernel: string;
  readonly initramfs: string;
  /** The file that guest memory of templates and clones is. */
  readonly memory: string;
  /** A socket that takes the state of a template. */
  readonly state: string;
}

/** Descriptors that it inherits. */
export const QEMU_FDS = { control: 3, agent: 4, console: 5, tap: 6, disk: 7, state: 8 } as const;

/** Root disks all have this size for the guest, so that one that has seen another finds nothing changed. In bytes. */
export const DISK_BYTES = 64 * 2 ** 30;

/** The port of the agent, by its name in the guest. */
const AGENT_PORT = 'skerry.agent';

/** What QMP calls the root disk. */
export const DISK_DEVICE = 'disk';

/** Code that was translated is kept in so much, in MiB: the default is a fortune for a small guest. */
const TRANSLATED_MIB = 64;

export interface QemuOptions {
  readonly acceleration: Acceleration['kind'];
  readonly places: QemuPlaces;
  /** QEMU from 8.2 on maps a file that it may only read as private memory by itself. */
  readonly readsOnly: boolean;
}

/** What must be the same for a template and its clones is said once, here. */
export function qemuCommandLine(machine: StartMachine, { acceleration, places, readsOnly }: QemuOptions): string[] {
  const { memory, cpus, memoryBytes, layers, initramfs, kernelArguments } = machine;
  const isClone = memory.kind === 'clone';
  const bytes = String(memoryBytes);
  const rom = isClone && readsOnly ? ',readonly=on,rom=off' : '';
  const backend =
    memory.kind === 'own'
      ? `memory-backend-ram,id=memory,size=${bytes}`
      : `memory-backend-file,id=memory,size=${bytes},mem-path=${places.memory},share=${isClone ? 'off' : 'on'}${rom}`;
  const disk =
    layers === null
      ? `driver=null-co,node-name=root,size=${DISK_BYTES},read-zeroes=on,read-only=on`
      : 'driver=raw,node-name=root,read-only=on,file.driver=file,file.filename=/dev/fdset/1,file.locking=off';
  const { control, agent, console: serial, tap } = QEMU_FDS;
  return [
    places.program,
    ...['-L', places.firmware, '-no-user-config', '-nodefaults', '-display', 'none', '-no-reboot'],
    ...['-M', 'microvm,acpi=off,isa-serial=on,memory-backend=memory'],
    ...(acceleration === 'kvm'
      ? ['-accel', 'kvm', '-cpu', 'host']
      : ['-accel', `tcg,thread=multi,tb-size=${TRANSLATED_MIB}`, '-cpu', 'max']),
    ...['-smp', String(cpus), '-m', `${bytes}B`, '-object', backend],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...['-chardev', `socket,id=control,fd=${control}`, '-mon', 'chardev=control,mode=control'],
    ...['-chardev', `socket,id=console,fd=${serial}`, '-serial', 'chardev:console'],
    ...['-device', 'virtio-serial-device,max_ports=2'],
    ...['-chardev', `socket,id=agent,fd=${agent}`, '-device', `virtserialport,nr=1,chardev=agent,name=${AGENT_PORT}`],
    ...['-netdev', `tap,id=net,fd=${tap}`, '-device', `virtio-net-device,netdev=net,mac=${MACHINE_MAC}`],
    ...(layers === null ? [] : ['-add-fd', `fd=${QEMU_FDS.disk},set=1`]),
    ...['-blockdev', disk, '-device', `virtio-blk-device,id=${DISK_DEVICE},drive=root,write-cache=off,num-queues=1`],
    ...['-object', 'rng-builtin,id=random', '-device', 'virtio-rng-device,rng=random'],
    ...['-device', 'virtio-balloon-device,id=balloon,deflate-on-oom=on,free-page-reporting=on'],
    ...(isClone
      ? ['-incoming', 'defer']
      : [
          ...['-kernel', places.kernel, '-append', kernelArguments],
          ...(initramfs === null ? [] : ['-initrd', places.initramfs]),
        ]),
  ];
}
