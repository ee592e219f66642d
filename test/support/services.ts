/** What a function may use beyond itself, in tests where that is nothing. */
import type { FunctionSettings } from '../../runtime/drivers/wasm/engine.ts';
import { openEgressClient } from '../../runtime/egress/client.ts';
import { resolveHere } from '../../runtime/egress/resolver.ts';
import { systemTrust } from '../../runtime/egress/trust.ts';
import type { KeyValueNamespace } from '../../runtime/keyvalue/keyvalue.ts';

function none(): never {
  throw new Error('there is no key-value storage in this test');
}

const keyvalue: KeyValueNamespace = {
  checkBucket: none,
  get: none,
  exists: none,
  getMany: none,
  listKeys: none,
  read: none,
  set: none,
  setMany: none,
  delete: none,
  deleteMany: none,
  increment: none,
  swap: none,
};

/** No configuration, no destination, no storage. */
export function noServices(): Pick<FunctionSettings, 'config' | 'egress' | 'keyvalue'> {
  return {
    config: {},
    egress: openEgressClient({ allow: [], resolve: resolveHere, trust: systemTrust({}) }),
    keyvalue,
  };
}
