/** A component made whole from its transpiled form, which others may share, and what is its own. */

import type { ComponentShape } from '../../../../images/wasm/component-shape.ts';
import { wasmErrors } from '../errors.ts';
import type { LoadedComponent, Transpiled } from './transpiled.ts';
import { dataModule } from './wasm-instrument.ts';

/** Throws COMPONENT_INVALID: what is the component's own was not looked at when the form is another's. */
export function assemble({ glue, modules }: Transpiled, shape: ComponentShape, label: string): LoadedComponent {
  const loaded = modules.map(({ name, bytes, instances, memory, place }) => {
    if (place === null) return { name, bytes, instances, memory, data: null };
    const own = shape.modules[place]!;
    const data = own.data && dataModule(own.data);
    if (data && !WebAssembly.validate(data)) throw wasmErrors.COMPONENT_INVALID(label, 'its data section is malformed');
    return { name, bytes, instances, memory: own.memory, data };
  });
  return { glue, modules: loaded };
}
