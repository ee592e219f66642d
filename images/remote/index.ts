export { Credentials } from './credentials.ts';
export { openRemote, type RemoteOptions, RemoteSource } from './open.ts';
export { type PushSource, pushImage } from './push.ts';
export { type RemoteManifest, RemoteRepository } from './repository.ts';
export { Transport, type TransportOptions } from './transport.ts';
