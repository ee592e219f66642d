/** What an image can rely on, in machines under this machine's own QEMU. */
import { suite } from 'uvu';
import { MachineNode, whyNoMachines } from '../../../support/machine-node.ts';
import { testUnless } from '../../../support/test-unless.ts';
import { conformance, type ImageNode } from '../image/conformance.ts';

const why = await whyNoMachines();
const machines = suite('images in microVMs');

conformance(
  (what: string, work: (node: ImageNode) => Promise<void>) =>
    testUnless(machines, why, what, () => MachineNode.during(work)),
  {
    codes: { notListening: 'MACHINE_NOT_LISTENING', ended: 'MACHINE_ENDED' },
    smallMemory: '48MiB',
    startTimeout: '10s',
  },
);

machines.run();
