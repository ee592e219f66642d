/**
 * Network namespaces as descriptors, and sockets inside them. A namespace lives as long as a descriptor, a process or a
 * mount holds it, and each socket made in it. Needs CAP_SYS_ADMIN, and CAP_NET_ADMIN to make what is in it.
 *
 * Hosts are addresses in digits ("127.0.0.1", "::1"); a name is refused with EINVAL.
 */
import { getSystemErrorName } from 'node:util';
import { call } from './binding.ts';
import { closeFd, events, waitFor } from './descriptors.ts';
import { HostError } from './host-error.ts';

/**
 * A new network namespace with loopback only, which is up, and in which any user may bind any port. It belongs to the user
 * namespace of this process, so that root of a container in it can change nothing.
 * @returns a descriptor for it
 * @throws HostError EPERM, ENOSPC (user.max_net_namespaces), EROFS or ENOENT (/proc/sys)
 */
export function makeNetworkNamespace(): Promise<number> {
  return call((host) => host.makeNetworkNamespace());
}

/**
 * A descriptor for the namespace at a path: `/proc/PID/ns/net` or a file that it is mounted on. Who must be sure of the
 * process opens a pidfd first and looks afterwards whether it still runs.
 * @throws HostError ENOENT, EPERM, EINVAL (it is not a network namespace)
 */
export function openNetworkNamespace(path: string): Promise<number> {
  return call((host) => host.openNetworkNamespace(path), path);
}

/**
 * TCP sockets inside a namespace, not connected yet. They stay in it wherever they are used: whoever is given one can
 * connect it without a right to enter the namespace.
 * @returns descriptors, with TCP_NODELAY on
 * @throws HostError EPERM, EBADF
 */
export function socketsInside(network: number, count: number, family: 4 | 6 = 4): Promise<number[]> {
  return call((native) => native.socketsInside(network, family, count));
}

/**
 * Connects a socket; no thread waits meanwhile. It is then for `new net.Socket({ fd })`; one that failed is good for nothing.
 * @param timeoutMs milliseconds until it is given up
 * @throws HostError ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EBADF
 */
export async function connectSocket(fd: number, host: string, port: number, timeoutMs: number): Promise<void> {
  if (await call((native) => native.connectSocket(fd, host, port))) return;
  const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  if ((await waitFor(fd, events.writable, { timeoutMs })) === 0) {
    throw new HostError({ code: 'ETIMEDOUT', syscall: 'connect', path: address });
  }
  const error = await call((native) => native.socketError(fd));
  if (error !== 0) throw new HostError({ code: getSystemErrorName(-error), syscall: 'connect', path: address });
}

/** A new socket inside a namespace, connected: `socketsInside` and `connectSocket`, with what they throw. */
export async function connectInside(network: number, host: string, port: number, timeoutMs: number): Promise<number> {
  const [fd] = (await socketsInside(network, 1, host.includes(':') ? 6 : 4)) as [number];
  try {
    await connectSocket(fd, host, port, timeoutMs);
    return fd;
  } catch (error) {
    await closeFd(fd);
    throw error;
  }
}

/**
 * Listens on a TCP port inside a namespace; port 0 lets the kernel choose. An IPv6 address takes IPv6 only.
 * @param backlog connections that may wait to be accepted
 * @returns a descriptor for `net.Server.listen({ fd })`
 * @throws HostError EADDRINUSE, EADDRNOTAVAIL, EACCES, EPERM, EBADF
 */
export function listenInside(network: number, host: string, port: number, backlog = 511): Promise<number> {
  return call((native) => native.listenInside(network, host, port, backlog));
}

/**
 * A UDP socket bound to a port inside a namespace.
 * @returns a descriptor for `dgram.Socket.bind({ fd })`
 * @throws HostError EADDRINUSE, EADDRNOTAVAIL, EACCES, EPERM, EBADF
 */
export function bindUdpInside(network: number, host: string, port: number): Promise<number> {
  return call((native) => native.bindUdpInside(network, host, port));
}

/**
 * Gives the loopback of a namespace one more IPv4 address, beside 127.0.0.1.
 * @param index from 0 on, another for each address
 * @throws HostError EEXIST (it has the address), EPERM, EBADF
 */
export function addAddressInside(network: number, index: number, host: string): Promise<void> {
  return call((native) => native.addAddressInside(network, index, host));
}

/**
 * What comes to a namespace over its devices is delivered in it, whatever IPv4 address it is for, except what a device leads
 * to: a socket that listens there, or `steerStreams`, takes it.
 * @throws HostError EEXIST (it is so already), EPERM, EBADF
 */
export function deliverAllInside(network: number): Promise<void> {
  return call((native) => native.deliverAllInside(network));
}

export interface TapOptions {
  /** The IPv4 address and prefix length of this side: `{ host: '10.0.0.1', prefix: 30 }`. None when left out. */
  readonly address?: { readonly host: string; readonly prefix: number };
  /** With the header of virtio-net before each frame, as QEMU's vnet_hdr=on has it. */
  readonly vnetHeader?: boolean;
}

/**
 * Makes a tap device inside a namespace, and brings it up. It is gone when the descriptor (with all copies) is closed.
 * @param name at most 15 characters
 * @returns a descriptor for frames, as QEMU's `-netdev tap,fd=` takes it
 * @throws HostError ENOENT or ENODEV (/dev/net/tun), EBUSY (the name is taken), EINVAL, EPERM, EBADF
 */
export function openTap(network: number, name: string, options: TapOptions = {}): Promise<number> {
  const { address = { host: '', prefix: 0 }, vnetHeader = false } = options;
  return call((native) => native.openTap(network, name, address.host, address.prefix, vnetHeader));
}
