/** What keyvalue-child.ts promises line by line, and whether a folder keeps it. */
import { charge } from '../../../runtime/keyvalue/layout.ts';
import { type KeyValueStore, openKeyValueStore } from '../../../runtime/keyvalue/store.ts';

/** What was promised last of each key: the round of its value, or that it is deleted. */
function promised(lines: readonly string[]) {
  let count = 0n;
  const values = new Map<string, string>();
  for (const line of lines) {
    const [what, key = '', round = ''] = line.split(' ');
    if (what === 'count') count = BigInt(key) > count ? BigInt(key) : count;
    else if (what === 'set') values.set(key, round);
    else if (what === 'delete') values.set(key, 'deleted');
  }
  return { count, values };
}

/** What does not hold in a folder after its writer (keyvalue-child.ts) was killed, or the power was cut. */
export async function findProblems(folder: string, lines: readonly string[]): Promise<string[]> {
  const problems: string[] = [];
  let store: KeyValueStore | undefined;
  try {
    store = await openKeyValueStore(folder);
    const own = store.namespace('own', 2 ** 24);
    const { count, values } = promised(lines);
    const found = BigInt(Buffer.from(own.get('n', 'count') ?? '0').toString());
    // Two increments at most were under way.
    if (found < count || found > count + 2n) problems.push(`the count is ${found}, and ${count} was acknowledged`);
    let used = own.exists('n', 'count') ? charge('n', 'count', `${found}`.length) : 0;
    for (const key of own.listKeys('b', null).keys) {
      const value = Buffer.from(own.get('b', key) as Uint8Array).toString();
      used += charge('b', key, value.length);
      const whole = value === `${key} `.repeat(value.length / (key.length + 1));
      if (!whole) problems.push(`${key} is not whole`);
      const round = (value.length / (key.length + 1) - 1) / 50;
      const expected = values.get(key);
      if (expected !== undefined && expected !== 'deleted' && round < Number(expected)) problems.push(`${key} is old`);
    }
    for (const [key, state] of values) {
      const gone = state === 'deleted' || mayBeDeleted(key, lines);
      if (!gone && !own.exists('b', key)) problems.push(`${key} is lost`);
    }
    // The quota counts what is there, to the byte.
    const exact = store.namespace('own', used + charge('b', 'more', 0));
    const over = await exact.set('b', 'more', Buffer.alloc(1)).then(
      () => true,
      () => false,
    );
    if (over) problems.push('the quota counts too little');
    await exact
      .set('b', 'more', Buffer.alloc(0))
      .catch((error) => problems.push(`the quota counts too much: ${error}`));
    await exact.delete('b', 'more');
    // A node that starts finds what it has to remove.
    const left = store.namespace('going', 2 ** 24).listKeys('b', null).keys.length;
    if (left > 0 && !store.workloads().includes('going')) problems.push(`${left} keys that nobody would find`);
    await store.remove('going');
    if (store.namespace('going', 2 ** 24).listKeys('b', null).keys.length > 0) problems.push('a removal left keys');
  } catch (error) {
    problems.push((error as Error).message);
  } finally {
    await store?.close();
  }
  return problems;
}

/** A deletion of both keys of a round may have been under way when the process was killed. */
function mayBeDeleted(key: string, lines: readonly string[]): boolean {
  const last = lines.filter((line) => line.startsWith('set ')).slice(-2);
  return last.some((line) => line.split(' ')[1] === key);
}
