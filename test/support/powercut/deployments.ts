/**
 * A stand-in for a node that deploys: a blob, then a revision that names it and the workload that names the revision, in
 * one commit; now and then an old revision is removed. And the check of what is left of it after a crash.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openDataFolder } from '../../../daemon/data-folder.ts';
import { type BlobStep, type ContentStore, openContentStore } from '../../../images/store/index.ts';
import { openStateStore, type StateStep, type StateStore } from '../../../runtime/state/index.ts';
import { randomFrom } from '../random.ts';

export type Step = BlobStep | StateStep | 'state:writing' | 'opened' | 'acknowledged' | 'removed';

interface Revision {
  number: number;
  digest: string;
  /** Makes some documents longer than a page of the store. */
  note: string;
}

export interface DeployOptions {
  readonly folder: string;
  readonly deployments: number;
  readonly onStep: (step: Step) => void;
  /** Told before the next thing is done; what it was told is promised. */
  readonly acknowledge: (promise: string) => void;
}

const workloads = 5;

/** Different for each number, the same at every try: half a kilobyte to 100 KB. */
function contentOf(number: number): Buffer {
  const random = randomFrom(number);
  const content = Buffer.alloc(512 + Math.floor(random() ** 4 * 100_000));
  for (let at = 0; at + 4 <= content.length; at += 4) content.writeUInt32LE(Math.floor(random() * 2 ** 32), at);
  return content;
}

function noteOf(number: number): string {
  return 'n'.repeat(number % 6 === 0 ? 9000 : (number % 7) * 50);
}

async function* inPieces(content: Buffer): AsyncIterable<Uint8Array> {
  for (let at = 0; at < content.length; at += 20_000) yield content.subarray(at, at + 20_000);
}

function keys(number: number, digest: string): { workload: string; revision: string } {
  const workload = `workload/w${number % workloads}`;
  return { workload, revision: `revision/w${number % workloads}/${digest.slice(7, 19)}` };
}

async function deploy(state: StateStore, images: ContentStore, number: number, options: DeployOptions): Promise<void> {
  const content = contentOf(number);
  const { digest } = await (number % 2 === 0 ? images.putBytes(content) : images.putStream(inPieces(content)));
  const { workload, revision } = keys(number, digest);
  const before = state.get<Revision>(workload);
  const value: Revision = { number, digest, note: noteOf(number) };
  const committed = state.commit([
    { key: revision, expect: state.get(revision)?.generation ?? 0, value },
    { key: workload, expect: before?.generation ?? 0, value },
  ]);
  // The transaction is now in the hands of another thread.
  setImmediate(() => setImmediate(() => options.onStep('state:writing')));
  await committed;
  options.acknowledge(`deployed ${number} ${digest}`);
  options.onStep('acknowledged');
  if (!before || number % 3 !== 0) return;
  const old = keys(before.value.number, before.value.digest).revision;
  const found = state.get(old);
  if (!found) return;
  options.acknowledge(`removing ${old}`);
  await state.commit([{ key: old, expect: found.generation, delete: true }]);
  options.acknowledge(`removed ${old}`);
  await images.delete(before.value.digest);
  options.onStep('removed');
}

/** Goes on from where the folder stands. */
export async function runDeployments(options: DeployOptions): Promise<void> {
  const data = await openDataFolder(options.folder);
  options.acknowledge(`key ${Buffer.from(data.nodeKey).toString('hex')}`);
  const { onStep } = options;
  const state = await openStateStore(join(data.path, 'state'), { onStep });
  const images = await openContentStore(join(data.path, 'images'), { onStep });
  onStep('opened');
  const last = Math.max(0, ...state.list<Revision>('workload/').map(({ value }) => value.number));
  for (let number = last + 1; number <= last + options.deployments; number++)
    await deploy(state, images, number, options);
  await state.close();
  await data.close();
}

interface Promises {
  key: string | null;
  /** Workload → the highest number that was acknowledged. */
  readonly deployed: Map<string, number>;
  readonly revisions: Map<string, string>;
  readonly removing: Set<string>;
  readonly removed: Set<string>;
}

function readPromises(lines: readonly string[]): Promises {
  const promises: Promises = {
    key: null,
    deployed: new Map(),
    revisions: new Map(),
    removing: new Set(),
    removed: new Set(),
  };
  for (const line of lines) {
    const [what, subject = '', digest = ''] = line.split(' ');
    if (what === 'key') promises.key = subject;
    else if (what === 'removing') promises.removing.add(subject);
    else if (what === 'removed') promises.removed.add(subject);
    else {
      const { workload, revision } = keys(Number(subject), digest);
      promises.deployed.set(workload, Number(subject));
      promises.revisions.set(revision, digest);
    }
  }
  return promises;
}

/**
 * Opens the folder as the next start of the node would, and returns every way in which it falls short of the promises:
 * none, if all is well. Ends with one more deployment, since a store may be whole and yet unable to go on.
 */
export async function findProblems(
  folder: string,
  lines: readonly string[],
  acknowledge: (promise: string) => void = () => {},
): Promise<string[]> {
  const problems: string[] = [];
  const promises = readPromises(lines);
  let data: Awaited<ReturnType<typeof openDataFolder>> | undefined;
  let state: StateStore | undefined;
  try {
    data = await openDataFolder(folder);
    if (promises.key !== null && Buffer.from(data.nodeKey).toString('hex') !== promises.key)
      problems.push('the key of the node has changed');
    state = await openStateStore(join(folder, 'state'));
    const images = await openContentStore(join(folder, 'images'));
    await checkDocuments(state, images, promises, problems);
    const leftovers = await readdir(join(folder, 'images', 'incoming'));
    if (leftovers.length > 0) problems.push(`leftovers of a crashed write: ${leftovers}`);
    const last = Math.max(0, ...state.list<Revision>('workload/').map(({ value }) => value.number));
    const options: DeployOptions = { folder, deployments: 1, onStep: () => {}, acknowledge };
    await deploy(state, images, last + 1, options);
  } catch (error) {
    problems.push((error as Error).message);
  } finally {
    await state?.close();
    await data?.close();
  }
  return problems;
}

async function checkDocuments(
  state: StateStore,
  images: ContentStore,
  promises: Promises,
  problems: string[],
): Promise<void> {
  const revisions = state.list<Revision>('revision/');
  const workloadsFound = state.list<Revision>('workload/');
  for (const { key, value } of [...revisions, ...workloadsFound]) {
    await images.open(value.digest).catch((error) => problems.push(`${key} names a bad blob: ${error.message}`));
    if (value.note !== noteOf(value.number)) problems.push(`${key} is half-made`);
  }
  const present = new Set(revisions.map(({ key }) => key));
  for (const { key, value } of workloadsFound)
    if (!present.has(keys(value.number, value.digest).revision)) problems.push(`${key} names a revision that is gone`);
  for (const [revision] of promises.revisions) {
    if (!present.has(revision) && !promises.removing.has(revision)) problems.push(`lost: ${revision}`);
    if (present.has(revision) && promises.removed.has(revision)) problems.push(`back again: ${revision}`);
  }
  for (const [workload, number] of promises.deployed) {
    const found = state.get<Revision>(workload);
    if (!found || found.value.number < number) problems.push(`lost: deployment ${number} of ${workload}`);
  }
}
