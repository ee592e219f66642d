/**
 * Flips bits in copies of a data file, and uses each as a node would: in a process of its own, since what must not
 * happen is that it crashes. Arguments: the good folder, a scratch folder, the seed, how many copies.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { openStateStore, type StateStore } from '../../../runtime/state/index.ts';
import { randomFrom } from '../random.ts';

const [goodFolder, scratch, seed, copies] = process.argv.slice(2) as [string, string, string, string];
const pageBytes = 4096;
const random = randomFrom(Number(seed));
const good = readFileSync(join(goodFolder, 'data.mdb'));
const expected = await readAll(goodFolder);
const problems: string[] = [];
let whole = 0;
let reported = 0;

async function readAll(folder: string): Promise<Map<string, string>> {
  const store = await openStateStore(folder);
  const all = new Map(store.list('').map(({ key, value }) => [key, JSON.stringify(value)]));
  await store.close();
  return all;
}

/** Half of the flips hit the start of a page, where its structure is; some hit the two root pages. */
function flipBits(bytes: Buffer): string {
  const flips: number[] = [];
  const onlyRoots = random() < 0.2;
  for (let left = 1 + Math.floor(random() * 4); left > 0; left--) {
    const page = Math.floor(random() * (onlyRoots ? 2 : bytes.length / pageBytes));
    const at = page * pageBytes + Math.floor(random() * (random() < 0.5 ? 200 : pageBytes));
    bytes[at]! ^= 1 << Math.floor(random() * 8);
    flips.push(at);
  }
  if (random() < 0.1) {
    const page = Math.floor(random() * (bytes.length / pageBytes)) * pageBytes;
    bytes.fill(0, page, page + pageBytes);
    flips.push(-page);
  }
  return flips.join(' ');
}

async function use(store: StateStore, corrupt: number, flips: string): Promise<void> {
  const found = store.list<unknown>('', () => {});
  for (const { key, value } of found)
    if (expected.get(key) !== JSON.stringify(value)) problems.push(`${flips}: ${key} was served and is wrong`);
  if (found.length + corrupt !== expected.size)
    problems.push(`${flips}: ${found.length} of ${expected.size} are there`);
  for (let number = 0; number < 10; number++)
    await store.commit([{ key: `new/${number}`, expect: 0, value: 'n'.repeat(Math.floor(random() * 6000)) }]);
  for (const { key, generation } of found.slice(0, 20)) await store.commit([{ key, expect: generation, delete: true }]);
}

for (let copy = 0; copy < Number(copies); copy++) {
  const folder = join(scratch, 'copy');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  const bytes = Buffer.from(good);
  const flips = flipBits(bytes);
  writeFileSync(join(folder, 'data.mdb'), bytes);
  let corrupt = 0;
  let store: StateStore | undefined;
  try {
    store = await openStateStore(folder, { onCorrupt: () => corrupt++ });
    await use(store, corrupt, flips);
    if (corrupt > 0) reported++;
    else whole++;
  } catch (error) {
    reported++;
    if ((error as SkerryError).code !== 'STATE_CORRUPT') problems.push(`${flips}: ${error}`);
    else if (store) problems.push(`${flips}: found only in use: ${error}`);
  }
  await store?.close();
}
console.log(JSON.stringify({ whole, reported, problems }));
