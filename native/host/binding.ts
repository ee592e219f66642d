/** Finds and loads the addon, at the first call that needs it. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { projectRoot } from '../../errors/project-root.ts';
import { asHostError, HostError } from './host-error.ts';

/** What addon.cc exports. `call` makes its errors HostErrors, which carry advice too. */
export interface NativeHost {
  closeFd(fd: number): Promise<void>;
  dupFd(fd: number): Promise<number>;
  setCloexec(fd: number, on: boolean): Promise<void>;
  peerCredentials(fd: number): Promise<{ pid: number; uid: number; gid: number }>;
  socketError(fd: number): Promise<number>;
  waitFor(fd: number, events: number, timeoutMs: number, ref: boolean): NativeWait;
  socketPair(): Promise<[number, number]>;
  streamPair(): Promise<[number, number]>;
  makePipe(): Promise<[number, number]>;
  Channel: new (
    fd: number,
    onMessage: (bytes: Buffer, fds: number[]) => void,
    onClose: (error: Error | null) => void,
  ) => NativeChannel;
  makeNetworkNamespace(): Promise<number>;
  openNetworkNamespace(path: string): Promise<number>;
  socketsInside(network: number, family: 4 | 6, count: number): Promise<number[]>;
  connectSocket(fd: number, host: string, port: number): Promise<boolean>;
  listenInside(network: number, host: string, port: number, backlog: number): Promise<number>;
  bindUdpInside(network: number, host: string, port: number): Promise<number>;
  addAddressInside(network: number, index: number, host: string): Promise<void>;
  deliverAllInside(network: number): Promise<void>;
  steerStreams(network: number, listener: number): Promise<number>;
  openTap(network: number, name: string, address: string, prefix: number, vnetHeader: boolean): Promise<number>;
  pidfdOpen(pid: number): Promise<number>;
  pidfdSignal(fd: number, signal: number): Promise<void>;
  pidfdReap(fd: number): Promise<NativeExit | null>;
  pidfdExit(fd: number): Promise<NativeExit | null | undefined>;
  setChildSubreaper(on: boolean): Promise<void>;
  setParentDeathSignal(signal: number): Promise<void>;
  oomEvents(folder: string): Promise<number>;
  drainEvents(fd: number): Promise<void>;
  kvmProbe(): Promise<{ apiVersion: number; extensions: Record<string, number>; makesMachines: boolean }>;
  kvmCalibrate(): Promise<{ nativeNs: number; guestNs: number; cutOff: boolean }>;
}

export interface NativeExit {
  readonly code?: number;
  readonly signal?: number;
}

export interface NativeWait {
  readonly done: Promise<number>;
  cancel(): void;
}

export interface NativeChannel {
  send(bytes: Uint8Array, fds: readonly number[]): Promise<void>;
  pause(): void;
  resume(): void;
  close(): void;
  ref(): void;
  unref(): void;
}

const file = join(projectRoot, 'native/host/skerry-host.node');

let loaded: NativeHost | undefined;

/** @throws HostError HOST_NOT_BUILT, HOST_UNLOADABLE */
export function native(): NativeHost {
  loaded ??= load(file);
  return loaded;
}

/** @throws HostError HOST_NOT_BUILT, HOST_UNLOADABLE */
export function load(path: string): NativeHost {
  const refuse = (code: string, advice: string, cause?: unknown) =>
    new HostError({ code, syscall: 'dlopen', path, advice, cause });
  if (process.platform !== 'linux') throw refuse('HOST_UNLOADABLE', 'use Linux: the host layer is for its kernel');
  // Its handles belong to the event loop of the process.
  if (!isMainThread) throw refuse('HOST_UNLOADABLE', 'call it from the main thread');
  try {
    return createRequire(import.meta.url)(path) as NativeHost;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'MODULE_NOT_FOUND') {
      throw refuse('HOST_NOT_BUILT', 'install a C++ compiler (on Debian: apt-get install g++), then `npm run build`');
    }
    throw refuse('HOST_UNLOADABLE', 'build it for this Node.js: `npm run build`', error);
  }
}

/** Whether the host layer can be used here, for `skerry doctor`: loads the addon, does nothing. */
export function hostAvailable(): { readonly available: boolean; readonly why: string } {
  try {
    native();
    return { available: true, why: '' };
  } catch (error) {
    return { available: false, why: (error as Error).message };
  }
}

/** Calls the addon; what it rejects with becomes a HostError. */
export async function call<T>(work: (host: NativeHost) => Promise<T>, path?: string): Promise<T> {
  try {
    return await work(native());
  } catch (error) {
    throw asHostError(error, path);
  }
}
