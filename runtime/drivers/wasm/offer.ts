import type { ImportOffer } from '../../../images/wasm/component.ts';

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

/** What a function may be given beside WASI: configuration, storage, a log with levels. Proposals, in the versions in use. */
const services: readonly ImportOffer[] = [
  { package: 'wasi:config', interfaces: ['store'], version: '0.2.0-rc.1' },
  { package: 'wasi:keyvalue', interfaces: ['store', 'atomics', 'batch'], version: '0.2.0-draft' },
  { package: 'wasi:keyvalue', interfaces: ['store', 'atomics', 'batch'], version: '0.2.0-draft2' },
  { package: 'wasi:logging', interfaces: ['logging'], version: '0.1.0-draft' },
  { package: 'wasi:logging', interfaces: ['logging'], version: '' },
  // Functions built from JavaScript, see images/build/javascript/guest/function.wit.
  { package: 'skerry:function', interfaces: ['outbound'], version: '' },
];

/**
 * What a component may import: the interfaces that the engines of Skerry's link. To be linked is not to be granted anything:
 * files, sockets, names and destinations that a workload was not given are refused when it asks for them.
 */
export const OFFERED_IMPORTS: readonly ImportOffer[] = [...p2, ...p3, ...services];

/** The same in a line for each package and version: `wasi:http/{types,outgoing-handler}@0.2`. */
export function offeredInterfaces(withP3: boolean): string[] {
  return [...p2, ...(withP3 ? p3 : []), ...services].map(({ package: name, interfaces, version }) => {
    const one = interfaces === '*' ? '*' : interfaces.length === 1 ? interfaces[0] : `{${interfaces.join(',')}}`;
    return `${name}/${one}${version === '' ? '' : `@${version}`}`;
  });
}
