import { defineErrors } from '../../errors/skerry-error.ts';

/** `image` is always the image as its user named it. */
export const ociErrors = defineErrors({
  REFERENCE_INVALID: {
    status: 400,
    what: (text: string, why: string) => `"${text.slice(0, 300)}" is not the name of an image: ${why}`,
    fix: 'write REGISTRY/REPOSITORY:TAG, REGISTRY/REPOSITORY@sha256:…, oci:FOLDER[:TAG] or docker-archive:FILE',
  },
  IMAGE_SOURCE_UNREADABLE: {
    status: 400,
    what: (path: string, why: string) => `${path} cannot be read as an image (${why})`,
    fix: 'name an OCI image layout (`skopeo copy … oci:FOLDER`) or an image archive (`docker save`)',
  },
  IMAGE_NOT_FOUND: {
    status: 404,
    what: (image: string, offers: readonly string[]) =>
      `there is no image ${image}${offers.length > 0 ? `; what is there: ${listed(offers)}` : ''}`,
    fix: 'check the name and the tag',
  },
  IMAGE_AMBIGUOUS: {
    status: 400,
    what: (image: string, offers: readonly string[]) => `${image} holds several images: ${listed(offers)}`,
    fix: 'name one of them by its tag, or save one alone',
  },
  IMAGE_PLATFORM: {
    status: 400,
    what: (image: string, wanted: string, offers: readonly string[]) =>
      `${image} has nothing for ${wanted}, the platform of this node; it offers ${listed(offers)}`,
    fix: 'build or pull it for this platform',
  },
  IMAGE_NOT_A_CONTAINER: {
    status: 400,
    what: (image: string, mediaType: string) =>
      `${image} is neither a container image nor a Wasm component: its configuration is "${mediaType.slice(0, 100)}"`,
    fix: 'push a component with `skerry push` or `wkg oci push`, or with `oras push --config FILE:application/vnd.wasm.config.v0+json` and the layer FILE:application/wasm',
  },
  WASM_LAYERS: {
    status: 400,
    what: (image: string, layers: number) => `${image} is a Wasm artifact with ${layers} layers; a component is one`,
    fix: 'push the component alone: `skerry push`, `wkg oci push`, or `oras push` with one file',
  },
  WASM_PLATFORM: {
    status: 400,
    what: (image: string, platform: string) =>
      `${image} is a Wasm artifact for ${platform}, and this node runs components (wasip2/wasm)`,
    fix: 'build it for WASI 0.2 or newer (`--target wasm32-wasip2`), and push that',
  },
  WASM_TARGET: {
    status: 400,
    what: (image: string, target: string) =>
      `${image} is a component for ${target.slice(0, 100)}, which serves no HTTP`,
    fix: 'push a component that exports wasi:http/incoming-handler',
  },
  IMAGE_MEDIA_TYPE: {
    status: 400,
    what: (image: string, what: string, mediaType: string) =>
      `${what} of ${image} has the unknown media type "${mediaType.slice(0, 100)}"`,
    fix: 'build it as an OCI image or a Docker image (schema 2), with layers that are plain, gzip or zstd',
  },
  IMAGE_MALFORMED: {
    status: 400,
    what: (image: string, what: string) => `${image} is damaged or badly made: ${what}`,
    fix: 'build or copy it again, and check it with `skopeo inspect`',
  },
  IMAGE_BLOB_MISSING: {
    status: 400,
    what: (image: string, digest: string) => `${image} is incomplete: ${digest} is not there`,
    fix: 'copy or push the whole image again',
  },
  IMAGE_BLOB_MISMATCH: {
    status: 400,
    what: (image: string, digest: string, why: string) => `${image} is damaged: ${digest} ${why}`,
    fix: 'copy or push it again: it was changed or cut on the way',
  },
  IMAGE_TOO_LARGE: {
    status: 413,
    what: (image: string, bytes: number, limit: number) =>
      `the layers of ${image} have ${bytes} bytes, more than the ${limit} there is room for`,
    fix: 'make room on the disk of the node, or make the image smaller',
  },
});

const SHOWN = 8;

function listed(offers: readonly string[]): string {
  if (offers.length === 0) return 'nothing';
  const more = offers.length > SHOWN ? ` and ${offers.length - SHOWN} more` : '';
  return offers.slice(0, SHOWN).join(', ').slice(0, 400) + more;
}
