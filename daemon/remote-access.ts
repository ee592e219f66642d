/** How the node speaks to other registries. */
import type { RemoteOptions } from '../images/remote/index.ts';
import { canonicalAddress, isSpecialAddress } from '../runtime/egress/address.ts';
import { systemTrust } from '../runtime/egress/trust.ts';

export type RemoteAccess = Pick<RemoteOptions, 'trust' | 'isSpecialAddress'>;

export function remoteAccess(): RemoteAccess {
  return {
    trust: systemTrust(process.env),
    // What cannot be read as an address is not one of the internet.
    isSpecialAddress: (text) => {
      const address = canonicalAddress(text);
      return address === null || isSpecialAddress(address);
    },
  };
}
