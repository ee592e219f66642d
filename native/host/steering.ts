/**
 * Connections inside a network namespace, whatever they are made to, taken by one socket. Needs CAP_BPF, CAP_NET_ADMIN, and
 * a kernel from 5.9 on with CONFIG_BPF_SYSCALL.
 */
import { call } from './binding.ts';

/**
 * All TCP over IPv4 that is sent inside a namespace to 127.64.0.0/10, or to an address that is not in 127.0.0.0/8, is given
 * to one listening socket. What it accepts has the address and port that the client meant as its local ones. Sockets that
 * listen on all addresses there are not in its way, nor it in theirs. When the listener is closed nobody answers.
 * @param listener a TCP socket that listens, in the same namespace; it stays the caller's
 * @returns a descriptor: it is so for as long as that is open, here or elsewhere
 * @throws HostError EPERM, EINVAL or ENOSYS (the kernel does not have it), E2BIG (too many in the namespace), EBADF
 */
export function steerStreams(network: number, listener: number): Promise<number> {
  return call((native) => native.steerStreams(network, listener));
}
