export { attachedTo } from './attachment-tag.ts';
export { type ExposedPort, type Healthcheck, type ImageConfig, parseConfig } from './config.ts';
export { type Descriptor, MAX_DOCUMENT_BYTES } from './documents.ts';
export { type ImportedImage, type ImportOptions, importImage } from './import.ts';
export { COMPONENT, isIndexType, isManifestType, OCI_INDEX, OCI_MANIFEST, WASM_CONFIG } from './media-types.ts';
export { openImageSource } from './open-source.ts';
export { formatPlatform, hostPlatform, type Platform } from './platform.ts';
export {
  artifactOf,
  ImageCatalog,
  type ImageLayer,
  type ImageRecord,
  type NamedImage,
  type RecordStore,
  type RecordWrite,
} from './record.ts';
export {
  type ArchiveReference,
  formatReference,
  isRepository,
  isTag,
  type LayoutReference,
  type NamedReference,
  type OwnReference,
  parseReference,
  type Reference,
  type RegistryReference,
} from './reference.ts';
export type { ImageSource, RootDocument } from './source.ts';
export { readStoredImage, type StoredImage, type StoredLayer } from './stored-image.ts';
export { makeWasmArtifact } from './wasm-artifact.ts';
