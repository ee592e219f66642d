/** A user namespace to unpack in, made with util-linux. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';

/** Which users of the host stand for the users 0, 1, … of a container. */
export interface IdRange {
  /** The host's number of the container's root, for users and groups alike. */
  readonly base: number;
  readonly count: number;
}

/**
 * Starts a program as the root of a user namespace in which the ids of `range` are 0, 1, …, with all its capabilities there
 * and none outside. It is to have no network. Descriptors, working directory and environment are those of `options`.
 */
export type StartAsNamespaceRoot = (
  command: string,
  args: readonly string[],
  range: IdRange,
  options: SpawnOptions,
) => Promise<ChildProcess>;

/**
 * By `unshare` and `nsenter`. A process that does nothing holds the new namespaces while its ids are written, which only the
 * host's root may do, and until the program has entered it.
 */
export const startByUtilLinux: StartAsNamespaceRoot = async (command, args, { base, count }, options) => {
  // It echoes a byte once it is in the namespace, and ends with this process, which holds its standard input.
  const holder = spawn('unshare', ['--user', '--net', '--ipc', '--', 'cat'], {
    env: options.env,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  try {
    await once(holder, 'spawn');
    holder.stdin.on('error', () => {});
    holder.stdin.write('\n');
    const [answer] = await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')]);
    if (!(answer instanceof Buffer)) throw new Error('unshare --user failed: user namespaces may be switched off');
    for (const map of ['uid_map', 'gid_map']) await writeFile(`/proc/${holder.pid}/${map}`, `0 ${base} ${count}\n`);
    const enter = ['--user', '--net', '--ipc', '--target', String(holder.pid), '--', command, ...args];
    const child = spawn('nsenter', enter, options);
    // Its output is a sign that it is in; so is its end.
    child.once('exit', () => holder.stdin.destroy());
    child.once('error', () => holder.stdin.destroy());
    return child;
  } catch (error) {
    holder.stdin.destroy();
    throw error;
  }
};
