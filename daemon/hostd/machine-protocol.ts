/** What the node may ask of hostd about microVMs, as `protocol.ts` has it for the rest. */
import * as z from 'zod';
import { isDigest } from '../../images/store/index.ts';
import { MOST_LAYERS, SandboxId, WorkloadLabels } from './protocol-parts.ts';

const GIB = 2 ** 30;
/** At once: as many descriptors as go with one message. */
const MOST_SOCKETS = 16;
/** Images whose disks are kept. */
const MOST_IMAGES = 1000;

const Digest = z.string().refine(isDigest);
const Layers = z.array(Digest).min(1).max(MOST_LAYERS);
const TemplateKey = z.string().regex(/^[0-9a-f]{64}$/);
/** Words for a kernel: nothing in them that a monitor could take for something else. */
const KernelArguments = z.string().regex(/^[A-Za-z0-9._=:/, -]{0,1000}$/);
const Millicores = z.int().min(10).max(1_000_000);

/** StartMachine. */
const StartMachine = z.strictObject({
  id: SandboxId,
  labels: WorkloadLabels,
  kernel: Digest,
  initramfs: Digest.nullable(),
  kernelArguments: KernelArguments,
  layers: Layers.nullable(),
  cpus: z.int().min(1).max(32),
  memoryBytes: z
    .int()
    .min(16 * 2 ** 20)
    .max(1024 * GIB)
    // Whole pages, of the largest kind that a monitor may use for them.
    .multipleOf(2 ** 20),
  cpuMillicores: Millicores,
  cpuWeight: z.int().min(1).max(10_000),
  outbound: z.boolean(),
  memory: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('own') }),
    z.strictObject({ kind: z.literal('template') }),
    z.strictObject({ kind: z.literal('clone'), template: TemplateKey }),
  ]),
});

const OfMachine = z.strictObject({ id: SandboxId });

export const MACHINE_CALLS = {
  /** Looks for what runs machines; before any of the calls below. */
  'machines.open': { fds: 0, args: z.strictObject({}) },
  'machines.start': { fds: 0, args: StartMachine },
  'machine.sockets': { fds: 0, args: OfMachine.extend({ count: z.int().min(1).max(MOST_SOCKETS) }) },
  'machine.outbound': { fds: 0, args: OfMachine },
  'machine.pause': { fds: 0, args: OfMachine },
  'machine.resume': { fds: 0, args: OfMachine },
  'machine.usage': { fds: 0, args: OfMachine },
  'machine.limit': { fds: 0, args: OfMachine.extend({ cpuMillicores: Millicores }) },
  'machine.keepTemplate': { fds: 0, args: OfMachine.extend({ key: TemplateKey }) },
  'machine.remove': { fds: 0, args: OfMachine },
  'machines.hasFile': { fds: 0, args: z.strictObject({ digest: Digest }) },
  /** Descriptor: the kernel or initial file system. */
  'machines.putFile': { fds: 1, args: z.strictObject({ digest: Digest }) },
  'machines.listFiles': { fds: 0, args: z.strictObject({}) },
  'machines.deleteFile': { fds: 0, args: z.strictObject({ digest: Digest }) },
  'machines.makeDisk': { fds: 0, args: z.strictObject({ layers: Layers }) },
  'machines.keepDisks': { fds: 0, args: z.strictObject({ images: z.array(Layers).max(MOST_IMAGES) }) },
  'machines.findTemplate': { fds: 0, args: z.strictObject({ key: TemplateKey }) },
  'machines.listTemplates': { fds: 0, args: z.strictObject({}) },
  'machines.deleteTemplate': { fds: 0, args: z.strictObject({ key: TemplateKey }) },
} as const;
