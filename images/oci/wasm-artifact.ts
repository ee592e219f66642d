/** A component as an OCI artifact: https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/ */
import * as z from 'zod';
import { digestOf } from '../store/index.ts';
import type { ComponentInfo } from '../wasm/component.ts';
import { check, type Descriptor, type Manifest, parseJson } from './documents.ts';
import { ociErrors } from './errors.ts';
import { COMPONENT, OCI_MANIFEST, WASM_CONFIG } from './media-types.ts';
import type { Platform } from './platform.ts';

/** `wasip1` stands for a core module, which is no component. */
export const WASM_PLATFORM: Platform = { os: 'wasip2', architecture: 'wasm', variant: null };
const RUN_HERE = ['wasip2', 'wasip3'];

/** `oras pull` writes no file that has no name; one for all, so that the artifact is the same whatever it is called. */
const TITLE = { 'org.opencontainers.image.title': 'component.wasm' };

/** Pushers by hand leave fields out: what is said must be right, and the component itself is checked when it is deployed. */
const configSchema = z.object({
  architecture: z.string().max(100).optional(),
  os: z.string().max(100).optional(),
  layerDigests: z.array(z.string().max(200)).max(1000).nullish(),
  component: z.object({ target: z.string().max(300).nullish() }).nullish(),
});

const WHAT = 'its configuration';
/** The world of command line programs, which answer no request; worlds of other names may have the handler in them. */
const commandWorld = /^wasi:cli\/command(?:@|$)/;

/**
 * The only layer of a Wasm artifact: the component. Throws IMAGE_MALFORMED, IMAGE_MEDIA_TYPE, WASM_LAYERS, WASM_PLATFORM,
 * WASM_TARGET. @param image what the user calls it
 */
export function componentOf(manifest: Manifest, config: Uint8Array, image: string): Descriptor {
  const { layers } = manifest;
  const [layer] = layers;
  if (!layer || layers.length > 1) throw ociErrors.WASM_LAYERS(image, layers.length);
  if (layer.mediaType !== COMPONENT) throw ociErrors.IMAGE_MEDIA_TYPE(image, 'the layer', layer.mediaType);
  // It is deployed by its own digest.
  if (!layer.digest.startsWith('sha256:'))
    throw ociErrors.IMAGE_MALFORMED(image, 'the component is not named by a digest of sha256');
  const { architecture, os, layerDigests, component } = check(
    configSchema,
    parseJson(config, image, WHAT),
    image,
    WHAT,
  );
  if ((architecture ?? 'wasm') !== 'wasm' || !RUN_HERE.includes(os ?? 'wasip2'))
    throw ociErrors.WASM_PLATFORM(image, `${os ?? 'wasip2'}/${architecture ?? 'wasm'}`);
  if (layerDigests && (layerDigests.length !== 1 || layerDigests[0] !== layer.digest))
    throw ociErrors.IMAGE_MALFORMED(image, `layerDigests of ${WHAT} are not those of its manifest`);
  if (component?.target && commandWorld.test(component.target)) throw ociErrors.WASM_TARGET(image, component.target);
  return layer;
}

/** The configuration and the manifest of a component: the same for the same component, whoever makes it. */
export function makeWasmArtifact(
  component: { readonly digest: string; readonly size: number },
  { exports, imports }: Pick<ComponentInfo, 'exports' | 'imports'>,
): { config: Buffer; manifest: Buffer } {
  const config = Buffer.from(
    JSON.stringify({
      created: '1970-01-01T00:00:00Z',
      architecture: WASM_PLATFORM.architecture,
      os: WASM_PLATFORM.os,
      layerDigests: [component.digest],
      component: { exports, imports },
    }),
  );
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: { mediaType: WASM_CONFIG, digest: digestOf(config), size: config.length },
    layers: [{ mediaType: COMPONENT, digest: component.digest, size: component.size, annotations: TITLE }],
  };
  return { config, manifest: Buffer.from(JSON.stringify(manifest)) };
}
