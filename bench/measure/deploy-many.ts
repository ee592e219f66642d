import type { DeployRequest } from '../../gateway/admin/schemas.ts';
import type { SkerryNode } from '../servers/skerry.ts';

/** Deploys at once: the node checks each of them. */
const AT_ONCE = 8;

/** Deploys `count` functions of one component, named f0, f1, …, and waits until all serve. */
export async function deployMany(
  node: SkerryNode,
  artifact: DeployRequest['artifact'],
  count: number,
): Promise<string[]> {
  const names = Array.from({ length: count }, (_, i) => `f${i}`);
  const waiting = [...names];
  const worker = async () => {
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) await node.deploy(name, artifact);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return names;
}
