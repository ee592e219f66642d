import { suite } from 'uvu';
import { type FakeNode, type Handler, startFakeNode } from './fake-node.ts';

/** A suite whose tests start fake nodes; they are closed after each test. */
export function fakeNodeSuite(name: string) {
  const test = suite<{ start(handlers: Record<string, Handler>): Promise<FakeNode>; nodes: FakeNode[] }>(name);
  test.before.each((scene) => {
    scene.nodes = [];
    scene.start = async (handlers) => {
      const node = await startFakeNode(handlers);
      scene.nodes.push(node);
      return node;
    };
  });
  test.after.each(async ({ nodes }) => {
    for (const node of nodes) await node.close();
  });
  return test;
}
