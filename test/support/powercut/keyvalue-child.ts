/**
 * Writes key-value pairs until it is done or ends itself with SIGKILL at the named step. Arguments: folder, file for
 * what it has acknowledged, step to die at, how often that step is passed before.
 */
import { openSync, writeSync } from 'node:fs';
import { openKeyValueStore } from '../../../runtime/keyvalue/store.ts';

const [folder, promisesFile, fatalStep, passes] = process.argv.slice(2);
const promises = openSync(promisesFile!, 'a');
let left = Number(passes);

const store = await openKeyValueStore(folder!, {
  onStep: (step) => {
    if (step === fatalStep && left-- === 0) process.kill(process.pid, 'SIGKILL');
  },
});
const own = store.namespace('own', 2 ** 24);
const say = (promise: string) => writeSync(promises, `${promise}\n`);

for (let round = 0; round < 20; round++) {
  // Each of these shares its flush with others.
  const count = async (): Promise<void> => void say(`count ${await own.increment('n', 'count', 1n, 'u64')}`);
  const put = async (key: string) => {
    await own.set('b', key, Buffer.from(`${key} `.repeat(1 + round * 50)));
    say(`set ${key} ${round}`);
  };
  await Promise.all([count(), put(`k${round % 7}`), count(), put(`l${round % 5}`)]);
  if (round % 4 === 3) {
    await own.deleteMany('b', [`k${round % 7}`, `l${round % 5}`]);
    say(`delete k${round % 7}`);
    say(`delete l${round % 5}`);
  }
  if (round % 10 === 9) {
    const going = store.namespace('going', 2 ** 24);
    await going.setMany(
      'b',
      Array.from({ length: 1000 }, (_, i) => [`${i}`, Buffer.alloc(10)] as const),
    );
    await going.set('b', 'last', Buffer.alloc(10));
    await store.remove('going');
    say('removed going');
  }
}
await store.close();
