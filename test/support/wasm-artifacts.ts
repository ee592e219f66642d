/** Components as OCI artifacts, as wkg and oras make them; and such that nobody should. */
import { digestOf } from '../../images/store/index.ts';
import { type Descriptor, type LayoutBuilder, types } from './image-builder.ts';

export const WASM_CONFIG = 'application/vnd.wasm.config.v0+json';
export const COMPONENT = 'application/wasm';

export interface ArtifactChange {
  /** Over what belongs into the configuration; null: an empty object in its place, as some write. */
  readonly config?: object | null;
  readonly configType?: string;
  readonly layerType?: string;
  readonly more?: readonly Descriptor[];
}

/** Stores one in the layout and names it there. Returns the manifest's descriptor. */
export function addWasmArtifact(
  layout: LayoutBuilder,
  component: Buffer,
  tag: string,
  { config = {}, configType = WASM_CONFIG, layerType = COMPONENT, more = [] }: ArtifactChange = {},
): Descriptor {
  const layers = [layout.blob(component, layerType), ...more];
  const made = {
    created: '2025-01-01T00:00:00Z',
    author: null,
    architecture: 'wasm',
    os: 'wasip2',
    layerDigests: [digestOf(component), ...more.map(({ digest }) => digest)],
    component: { exports: ['wasi:http/incoming-handler@0.2.0'], imports: [], target: null },
    ...config,
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: layout.json(config === null ? {} : made, configType),
    layers,
  };
  return layout.name(layout.json(manifest, types.manifest), tag);
}
