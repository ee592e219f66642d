import type { Stats } from 'node:fs';
import { open, readFile, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { daemonErrors } from './errors.ts';

/*
 * Who holds a data folder is told by sockets, because the kernel lets go of them when their process ends, however it
 * ends: nothing is left to clean up after a SIGKILL or a power cut, and a process id that is in use again means nothing.
 *
 * 1. An abstract socket named after the folder's device and inode. Binding it is atomic: of two nodes that start at once
 *    one gets it. It is seen only within one network namespace.
 * 2. `node.lock`, a socket in the folder itself, for nodes in other network namespaces (two containers that share a
 *    volume). A dead one refuses connections and is replaced. Only for these, two nodes that start within the same
 *    moment after a crash can both get through.
 */

/** How long a holder may take to say its process id, in milliseconds; it is only for the message. */
const greetingMs = 1000;

export interface FolderLock {
  release(): Promise<void>;
}

/** Takes `path`, whose `stat` is `found`, for this process. Throws DATA_IN_USE. */
export async function lockFolder(path: string, found: Stats): Promise<FolderLock> {
  const name = `\0skerry-data-${found.dev}-${found.ino}`;
  const first = await listen(name);
  if (!first) throw daemonErrors.DATA_IN_USE(path, (await askHolder(name))?.pid ?? (await pidInFile(path)));
  // Through the descriptor, since the address of a socket has room for 107 bytes only, and folders have longer names.
  const folder = await open(path, 'r');
  const file = `/proc/self/fd/${folder.fd}/node.lock`;
  try {
    const holder = await askHolder(file);
    if (holder) throw daemonErrors.DATA_IN_USE(path, holder.pid);
    await rm(file, { force: true });
    const second = await listen(file);
    if (!second) throw daemonErrors.DATA_IN_USE(path, null);
    return {
      release: async () => {
        await close(second);
        await folder.close();
        await rm(join(path, 'node.lock'), { force: true });
        await close(first);
      },
    };
  } catch (error) {
    await folder.close();
    await close(first);
    throw error;
  }
}

/** Null when another process has the address. */
function listen(address: string): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.end(`${process.pid}\n`);
    });
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(null);
      else reject(error);
    });
    server.listen({ path: address }, () => {
      server.unref();
      resolve(server);
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

/** Null when nobody listens. A holder that is too busy to answer is one all the same. */
function askHolder(address: string): Promise<{ pid: number | null } | null> {
  return new Promise((resolve) => {
    let connected = false;
    let answer = '';
    const socket = connect({ path: address });
    const finish = () => {
      socket.destroy();
      const pid = /^([0-9]+)\n/.exec(answer);
      resolve(connected ? { pid: pid ? Number(pid[1]) : null } : null);
    };
    socket.setTimeout(greetingMs, finish);
    socket.on('connect', () => {
      connected = true;
    });
    socket.on('data', (data) => {
      answer += data.toString('latin1');
    });
    socket.on('error', finish);
    socket.on('end', finish);
  });
}

async function pidInFile(path: string): Promise<number | null> {
  const text = await readFile(join(path, 'skerry.pid'), 'latin1').catch(() => '');
  return /^[0-9]+\n$/.test(text) ? Number(text) : null;
}
