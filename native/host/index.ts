/**
 * What Skerry asks of the Linux kernel and Node.js does not offer. Nothing here blocks the event loop. A call that fails
 * rejects with a HostError (`code`, `syscall`, `path`, `advice`); all of them may say EMFILE and ENOMEM, and HOST_NOT_BUILT
 * where the addon was not built. Descriptors that are given back are the caller's to close, and closed on exec.
 */
export { hostAvailable } from './binding.ts';
export { Cgroups } from './cgroups/cgroups.ts';
export type { Cgroup, CgroupUsage, Pressure, PressureFigures } from './cgroups/group.ts';
export { type CgroupLayout, layout as cgroupLayout } from './cgroups/layout.ts';
export type { CgroupLimits, Unapplied } from './cgroups/limits.ts';
export {
  Channel,
  type ChannelHandlers,
  MAX_MESSAGE_BYTES,
  MAX_MESSAGE_FDS,
  makePipe,
  socketPair,
  streamPair,
} from './channel.ts';
export { type Credentials, closeFd, dupFd, events, peerCredentials, setCloexec, waitFor } from './descriptors.ts';
export { HostError } from './host-error.ts';
export { calibrateKvm, type KvmCalibration, type KvmProbe, probeKvm } from './kvm.ts';
export {
  addAddressInside,
  bindUdpInside,
  connectInside,
  connectSocket,
  deliverAllInside,
  listenInside,
  makeNetworkNamespace,
  openNetworkNamespace,
  openTap,
  socketsInside,
  type TapOptions,
} from './namespaces.ts';
export { type Exit, HostProcess, setChildSubreaper, setParentDeathSignal, startTimeOf } from './pidfd.ts';
export { steerStreams } from './steering.ts';
