/** Single descriptors: numbers of open files of this process, as node:net and node:child_process take them. */
import { call, native } from './binding.ts';
import { asHostError } from './host-error.ts';

/** Closes a descriptor that nothing else in this process closes. @throws HostError EBADF */
export function closeFd(fd: number): Promise<void> {
  return call((host) => host.closeFd(fd));
}

/** The same open file under a new number, closed on exec. @throws HostError EBADF, EMFILE */
export function dupFd(fd: number): Promise<number> {
  return call((host) => host.dupFd(fd));
}

/**
 * Whether a program that this process becomes or starts is without the descriptor. All descriptors of this folder are so.
 * Any child that is started while it is off has the descriptor: to give it to one child, name it in `stdio` instead.
 * @throws HostError EBADF
 */
export function setCloexec(fd: number, on: boolean): Promise<void> {
  return call((host) => host.setCloexec(fd, on));
}

export interface Credentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Who connected the other end of a Unix socket, or who made the pair: it stays that process when the end is handed on.
 * @throws HostError EBADF, ENOTSOCK
 */
export function peerCredentials(fd: number): Promise<Credentials> {
  return call((host) => host.peerCredentials(fd));
}

/** As libuv numbers them. */
export const events = { readable: 1, writable: 2, hungUp: 4 } as const;

/**
 * Waits once until one of `wanted` holds; no thread waits. One wait at a time for each descriptor.
 * @param options.ref whether the wait keeps the process alive
 * @returns the events, or 0 after `timeoutMs` milliseconds (Infinity: never) and when `signal` is aborted. The descriptor
 * may be closed once this has settled, not before.
 * @throws HostError EBADF, EEXIST (there is a wait already), EPERM (it is a plain file)
 */
export async function waitFor(
  fd: number,
  wanted: number,
  options: { timeoutMs?: number; signal?: AbortSignal | undefined; ref?: boolean } = {},
): Promise<number> {
  const { timeoutMs = Number.POSITIVE_INFINITY, signal, ref = true } = options;
  if (signal?.aborted) return 0;
  const { done, cancel } = native().waitFor(fd, wanted, timeoutMs, ref);
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    return await done;
  } catch (error) {
    throw asHostError(error);
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}
