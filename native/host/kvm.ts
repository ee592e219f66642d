/** Whether this machine runs guests in hardware, emulates them under the name of KVM, or cannot run them. */
import { readdir, readFile } from 'node:fs/promises';
import { call } from './binding.ts';

export interface KvmProbe {
  /** 12 on every kernel of today. */
  readonly apiVersion: number;
  /**
   * Extensions by name, without KVM_CAP_: what KVM_CHECK_EXTENSION says, 0 where it has it not, 1 or a number ("NR_VCPUS")
   * where it has it.
   */
  readonly extensions: Readonly<Record<string, number>>;
  /** An empty machine could be made. */
  readonly makesMachines: boolean;
  /** What the CPU brings, by /proc/cpuinfo; both are missing on a machine that is a guest itself, unless it may nest. */
  readonly cpu: 'vmx' | 'svm' | null;
  /** Modules of KVM that are loaded: "kvm_intel", "kvm_amd", "kvm_pvm". Empty where they are built in. */
  readonly modules: readonly string[];
  /** The pagetable-based KVM of a host that is a guest: guests run, but not in hardware. */
  readonly pvm: boolean;
}

/** @throws HostError ENOENT (no KVM here), EACCES (see its advice), EBUSY (another hypervisor has the hardware) */
export async function probeKvm(): Promise<KvmProbe> {
  const [probed, cpuinfo, modules] = await Promise.all([
    call((host) => host.kvmProbe()),
    readFile('/proc/cpuinfo', 'utf8').catch(() => ''),
    readdir('/sys/module').catch(() => [] as string[]),
  ]);
  const flag = /^flags\s*:.*\b(vmx|svm)\b/m.exec(cpuinfo)?.[1] as 'vmx' | 'svm' | undefined;
  const loaded = modules.filter((name) => name.startsWith('kvm_')).sort();
  return { ...probed, cpu: flag ?? null, modules: loaded, pvm: loaded.includes('kvm_pvm') };
}

export interface KvmCalibration {
  /** Nanoseconds of one turn of a loop (dec, jnz) on the host. */
  readonly nativeNs: number;
  /** The same in a guest; when it was cut off, at least this. */
  readonly guestNs: number;
  /** How many times slower the guest is: about 1 in hardware, hundreds and more where its instructions are emulated. */
  readonly ratio: number;
  /** It was slower than some 50 times native, and stopped. */
  readonly cutOff: boolean;
  /** Not fit for guests of the size of a kernel. */
  readonly emulated: boolean;
}

/** Slower than this it is no hardware; even a nested guest, which has some, is far below. */
const EMULATED_RATIO = 20;

/**
 * Times a tiny guest against the same loop on the host. Takes up to some 0.3 seconds, on a thread of its own.
 * @throws HostError as `probeKvm`; ENOTSUP: it could not run the guest, or this is no x86-64
 */
export async function calibrateKvm(): Promise<KvmCalibration> {
  const timing = await call((host) => host.kvmCalibrate());
  const ratio = timing.guestNs / timing.nativeNs;
  return { ...timing, ratio, emulated: timing.cutOff || ratio > EMULATED_RATIO };
}
