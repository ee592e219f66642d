/**
 * Fills the disk of a folder to many different degrees, writes until there is no room, and checks what is left; then
 * makes room and goes on. Prints a JSON document: what it did, and what was wrong. Arguments: the folder, which is a
 * small disk of its own (`disk`) or has a limit on the size of its files (`file-size`), and which of the two.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readdirSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { SkerryError } from '../../../errors/skerry-error.ts';
import { openContentStore } from '../../../images/store/index.ts';
import { openStateStore } from '../../../runtime/state/index.ts';

const [folder, limit] = process.argv.slice(2) as [string, 'disk' | 'file-size'];
const page = 4096;
const degrees = 24;
const filler = join(folder, 'filler');

/** Leaves `bytes` of the disk, or of the largest file's growth. */
function leave(bytes: number, largest: number): void {
  if (limit === 'file-size') return setFileSize(largest + bytes);
  const file = openSync(filler, 'w');
  const block = Buffer.alloc(64 * 1024, 1);
  let size = 0;
  for (let step = block.length; step >= 512; )
    try {
      size += writeSync(file, block, 0, step, size);
    } catch {
      step /= 2;
    }
  ftruncateSync(file, Math.max(0, size - bytes));
  closeSync(file);
}

function makeRoom(): void {
  if (limit === 'file-size') setFileSize('unlimited');
  else rmSync(filler, { force: true });
}

function setFileSize(bytes: number | 'unlimited'): void {
  const run = spawnSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:unlimited`]);
  if (run.status !== 0) throw new Error(`prlimit: ${run.stderr}`);
}

const problems: string[] = [];
const seen: Record<string, number> = {};
const stateFolder = join(folder, 'state');
const imagesFolder = join(folder, 'images');

async function fails(what: string, code: string, work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return false;
  } catch (error) {
    const found = (error as SkerryError).code ?? String(error);
    seen[found] = (seen[found] ?? 0) + 1;
    if (found !== code) problems.push(`${what}: ${found} instead of ${code} (${error})`);
    return true;
  }
}

let state = await openStateStore(stateFolder);
const documents = new Map<string, string>();

function checkDocuments(when: string): void {
  const found = new Map(state.list<string>('').map(({ key, value }) => [key, value]));
  for (const [key, value] of documents) if (found.get(key) !== value) problems.push(`${when}: ${key} is lost`);
  for (const key of found.keys()) if (!documents.has(key)) problems.push(`${when}: ${key} was refused and is there`);
}

function stateFileBytes(): number {
  return statSync(join(stateFolder, 'data.mdb')).size;
}

for (let degree = 0; degree < degrees; degree++) {
  leave(degree * page, stateFileBytes());
  let full = false;
  for (let number = 0; number < 100 && !full; number++) {
    const key = `doc/${degree}/${number}`;
    const value = 'v'.repeat(500 + ((degree * 977 + number * 1931) % 9000));
    full = await fails(`state with ${degree} pages left`, 'STATE_DISK_FULL', () =>
      state.commit([
        { key, expect: 0, value },
        { key: `${key}/b`, expect: 0, value: 'b' },
      ]),
    );
    if (!full) documents.set(key, value).set(`${key}/b`, 'b');
  }
  if (!full) problems.push(`the disk with ${degree} pages left never was full for the state`);
  checkDocuments(`full, ${degree} pages`);
  makeRoom();
  await state.commit([{ key: `doc/${degree}/room`, expect: 0, value: 'r' }]);
  documents.set(`doc/${degree}/room`, 'r');
  checkDocuments(`room again, ${degree} pages`);
  if (degree % 8 === 7) {
    // A node that starts while the disk is full serves what it has, and lets documents be removed.
    await state.close();
    leave(0, stateFileBytes());
    state = await openStateStore(stateFolder);
    checkDocuments(`started on a full disk, ${degree}`);
    for (const key of [...documents.keys()].slice(0, 20)) {
      const expect = state.get(key)!.generation;
      if (await fails('removing on a full disk', '', () => state.commit([{ key, expect, delete: true }]))) break;
      documents.delete(key);
    }
    checkDocuments(`removed on a full disk, ${degree}`);
    makeRoom();
  }
}
await state.close();

let images = await openContentStore(imagesFolder);
const blobs: string[] = [];
for (let degree = 0; degree < degrees; degree++) {
  leave(Math.max(0, degree * page - (degree % 3) * 700), 0);
  let full = false;
  for (let number = 0; number < 100 && !full; number++) {
    const content = Buffer.alloc(1 + ((degree * 4999 + number * 7919) % 120_000), `${degree}/${number} `);
    full = await fails(`blobs with ${degree} pages left`, 'STORE_DISK_FULL', async () => {
      const { digest } = await images.putBytes(content);
      blobs.push(digest);
    });
  }
  if (!full) problems.push(`the disk with ${degree} pages left never was full for the blobs`);
  if (readdirSync(join(imagesFolder, 'incoming')).length > 0) problems.push('a refused blob left something');
  makeRoom();
  await images.putBytes(Buffer.from(`room ${degree}`));
  images = await openContentStore(imagesFolder);
  for (const digest of blobs) await images.open(digest).catch((error) => problems.push(String(error)));
  if ((await images.list()).length < blobs.length) problems.push('a blob is missing in the list');
  for (const digest of blobs.splice(0)) await images.delete(digest);
}

console.log(JSON.stringify({ seen, problems, documents: documents.size }));
