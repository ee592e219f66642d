/**
 * Fills the disk of a folder to different degrees, stores values until there is no room, and checks what is left; then
 * makes room and goes on. Prints a JSON document: how often it was full, and what was wrong. Argument: the folder, which
 * is a small disk of its own.
 */
import { closeSync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { openKeyValueStore } from '../../../runtime/keyvalue/store.ts';

const folder = process.argv[2] as string;
const filler = join(folder, 'filler');
const page = 4096;

/** Leaves `bytes` of the disk. */
function leave(bytes: number): void {
  const file = openSync(filler, 'w');
  const block = Buffer.alloc(64 * 1024, 1);
  let size = 0;
  for (let step = block.length; step >= 512; ) {
    try {
      size += writeSync(file, block, 0, step, size);
    } catch {
      step /= 2;
    }
  }
  ftruncateSync(file, Math.max(0, size - bytes));
  closeSync(file);
}

const problems: string[] = [];
let full = 0;
const values = new Map<string, number>();
const store = await openKeyValueStore(join(folder, 'keyvalue'));
const own = store.namespace('own', 2 ** 30);

function check(when: string): void {
  const { keys } = own.listKeys('b', null);
  for (const key of keys) if (!values.has(key)) problems.push(`${when}: ${key} was refused and is there`);
  for (const [key, length] of values) {
    if (own.get('b', key)?.byteLength !== length) problems.push(`${when}: ${key} is not as it was set`);
  }
}

for (let degree = 0; degree < 12; degree++) {
  leave(degree * 3 * page);
  let refused = false;
  for (let number = 0; number < 60 && !refused; number++) {
    // A large one and a small one share a flush: the small may fit where the large does not.
    const sets = (
      [
        [`large ${degree} ${number}`, 20_000],
        [`small ${degree} ${number}`, 10],
      ] as const
    ).map(async ([key, length]) => {
      try {
        await own.set('b', key, Buffer.alloc(length));
        values.set(key, length);
      } catch (error) {
        const { code } = error as SkerryError;
        if (code !== 'KEYVALUE_DISK_FULL') problems.push(`${code} instead of KEYVALUE_DISK_FULL`);
        refused = true;
      }
    });
    await Promise.all(sets);
  }
  if (refused) full++;
  check(`full, ${degree}`);
  const [oldest] = values.keys();
  await own.delete('b', oldest as string).then(
    () => values.delete(oldest as string),
    (error) => problems.push(`deleting on a full disk: ${error}`),
  );
  rmSync(filler);
  await own.set('b', `room ${degree}`, Buffer.alloc(100)).then(() => values.set(`room ${degree}`, 100));
  check(`room again, ${degree}`);
  for (const key of [...values.keys()].filter((each) => each.startsWith('large'))) {
    await own.delete('b', key);
    values.delete(key);
  }
}
await store.close();
console.log(JSON.stringify({ full, problems }));
