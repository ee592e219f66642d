/** https://github.com/opencontainers/image-spec/blob/v1.1.0/media-types.md and Docker's image manifest, version 2 schema 2. */

const indexes = new Set([
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
]);
const manifests = new Set([
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
]);
const configs = new Set(['application/vnd.oci.image.config.v1+json', 'application/vnd.docker.container.image.v1+json']);
/** How they are compressed is told by their first bytes; `nondistributable` ones are like others where they are there. */
const layer =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+gzip|\+zstd)?|docker\.image\.rootfs\.(?:diff|foreign\.diff)\.tar(?:\.gzip|\.zstd)?)$/;

export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';

export const isIndexType = (mediaType: string): boolean => indexes.has(mediaType);
export const isManifestType = (mediaType: string): boolean => manifests.has(mediaType);
export const isConfigType = (mediaType: string): boolean => configs.has(mediaType);
export const isLayerType = (mediaType: string): boolean => layer.test(mediaType);

/** https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/ */
export const WASM_CONFIG = 'application/vnd.wasm.config.v0+json';
export const COMPONENT = 'application/wasm';
