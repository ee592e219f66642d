/**
 * wasi:filesystem/* and wasi:sockets/*: nothing is granted. There is no folder to open anything in, and no socket can
 * be made, so that the resources below have no objects: a guest that invents a handle to one traps.
 */
import { Handle } from './handle.ts';

class Descriptor extends Handle {}
class DirectoryEntryStream extends Handle {}
class Network extends Handle {}
class ResolveAddressStream extends Handle {}
class TcpSocket extends Handle {}
class UdpSocket extends Handle {}
class IncomingDatagramStream extends Handle {}
class OutgoingDatagramStream extends Handle {}

/** Thrown as the `error-code` of a result. */
function refuse(): never {
  throw 'access-denied';
}

const none = () => undefined;

export const denied = {
  'wasi:filesystem/preopens': { getDirectories: () => [] },
  'wasi:filesystem/types': { Descriptor, DirectoryEntryStream, filesystemErrorCode: none },
  'wasi:sockets/instance-network': { instanceNetwork: () => new Network() },
  'wasi:sockets/network': { Network, networkErrorCode: none },
  'wasi:sockets/ip-name-lookup': { ResolveAddressStream, resolveAddresses: refuse },
  'wasi:sockets/tcp': { TcpSocket },
  'wasi:sockets/tcp-create-socket': { createTcpSocket: refuse },
  'wasi:sockets/udp': { UdpSocket, IncomingDatagramStream, OutgoingDatagramStream },
  'wasi:sockets/udp-create-socket': { createUdpSocket: refuse },
};
