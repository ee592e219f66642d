import type { ImportOffer } from '../../../images/wasm/component.ts';

/**
 * What a component may import: the interfaces that Skerry's engines link. To be linked is not to be granted anything:
 * files, sockets and names that a workload was not given are refused when it asks for them.
 */
const p2: readonly ImportOffer[] = [
  { package: 'wasi:cli', interfaces: '*', version: '0.2' },
  { package: 'wasi:io', interfaces: '*', version: '0.2' },
  { package: 'wasi:clocks', interfaces: '*', version: '0.2' },
  { package: 'wasi:random', interfaces: '*', version: '0.2' },
  { package: 'wasi:filesystem', interfaces: ['types', 'preopens'], version: '0.2' },
  { package: 'wasi:sockets', interfaces: '*', version: '0.2' },
  { package: 'wasi:http', interfaces: ['types', 'outgoing-handler'], version: '0.2' },
];

/** WASI 0.3 has no `wasi:io`: streams and futures are part of the component model there. */
const p3: readonly ImportOffer[] = [
  { package: 'wasi:cli', interfaces: '*', version: '0.3' },
  { package: 'wasi:clocks', interfaces: '*', version: '0.3' },
  { package: 'wasi:random', interfaces: '*', version: '0.3' },
  { package: 'wasi:filesystem', interfaces: ['types', 'preopens'], version: '0.3' },
  { package: 'wasi:sockets', interfaces: '*', version: '0.3' },
  { package: 'wasi:http', interfaces: ['types', 'client'], version: '0.3' },
];

/** Toolchains for 0.3 still import some interfaces of 0.2. */
export const OFFERED_IMPORTS: readonly ImportOffer[] = [...p2, ...p3];
