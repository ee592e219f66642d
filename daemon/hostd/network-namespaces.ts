import type { Socket } from 'node:net';

/** A network namespace with a loopback and nothing else, as long as it is open here or somebody is in it. */
export interface NetworkNamespace {
  readonly fd: number;
  close(): Promise<void>;
}

export interface NetworkNamespaces {
  make(): Promise<NetworkNamespace>;
  /** A connection to the loopback of the namespace that this process is in. Rejects with the system's error. */
  connect(pid: number, port: number, timeoutMs: number): Promise<Socket>;
}
