import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sweepLayers } from '../../daemon/sweep-layers.ts';

async function swept(images: (onUnreadable: () => void) => Set<string>): Promise<string[]> {
  const deleted: string[] = [];
  const layers = {
    list: async () => ['of an image', 'under a container', 'nobody'],
    delete: async (diffId: string) => deleted.push(diffId) > 0,
  };
  await sweepLayers(layers, { diffIds: images }, new Set(['under a container']));
  return deleted;
}

test('of unpacked layers stays what an image has, and what a container uses', async () => {
  assert.equal(await swept(() => new Set(['of an image'])), ['nobody']);
});

test('nothing goes while the record of an image cannot be read', async () => {
  const damaged = (onUnreadable: () => void) => {
    onUnreadable();
    return new Set<string>();
  };
  assert.equal(await swept(damaged), []);
});

test.run();
