import { defineErrors } from '../../errors/skerry-error.ts';

const rebuild = 'build the image again with `docker build` or buildah: no such tool writes this';

/** `layer` is the digest of a layer's uncompressed archive, `entry` a name in it as it is written there, printable. */
export const layerErrors = defineErrors({
  LAYER_ESCAPE: {
    status: 400,
    what: (layer: string, entry: string, why: string) => `${layer} would write outside of itself at "${entry}": ${why}`,
    fix: 'do not trust this image',
  },
  LAYER_DEVICE: {
    status: 400,
    what: (layer: string, entry: string, why: string) => `${layer} has "${entry}", and ${why}`,
    fix: 'take the device out of the image: a container gets a /dev of its own',
  },
  LAYER_ID_OUT_OF_RANGE: {
    status: 400,
    what: (layer: string, entry: string, why: string) => `${layer} has "${entry}", and ${why}`,
    fix: 'build the image with owners in this range',
  },
  LAYER_TYPE_CHANGE: {
    status: 400,
    what: (layer: string, entry: string, why: string) => `${layer} names "${entry}" in two ways: ${why}`,
    fix: rebuild,
  },
  LAYER_TOO_MANY_ENTRIES: {
    status: 413,
    what: (layer: string, why: string) => `${layer} is too large: ${why}`,
    fix: 'make the image smaller, or make room on the disk of the node',
  },
  LAYER_TOO_LARGE: {
    status: 413,
    what: (layer: string, why: string) => `${layer} is too large: ${why}`,
    fix: 'make the image smaller, or make room on the disk of the node',
  },
  LAYER_BOMB: {
    status: 400,
    what: (layer: string, why: string) => `${layer} is a decompression bomb: ${why}`,
    fix: 'do not trust this image',
  },
  LAYER_MALFORMED: {
    status: 400,
    what: (layer: string, entry: string | null, why: string) =>
      entry === null ? `${layer} cannot be unpacked: ${why}` : `${layer} cannot be unpacked at "${entry}": ${why}`,
    fix: rebuild,
  },
  LAYER_DIFF_ID: {
    status: 400,
    what: (layer: string, why: string) => `${layer} has another content than its image says: ${why}`,
    fix: 'build or push the image again',
  },
  LAYER_DISK_FULL: {
    status: 507,
    what: (layer: string, folder: string) => `no room on the disk of ${folder} to unpack ${layer}`,
    fix: 'make room and try again; what is unpacked already is whole',
  },
  LAYER_TIMEOUT: {
    status: 504,
    what: (layer: string, seconds: number) => `${layer} was not unpacked within ${seconds} s`,
    fix: 'try again when the node has less to do, or make the image smaller',
  },
  LAYERS_NOT_WRITABLE: {
    status: 500,
    what: (folder: string, why: string) => `the folder of unpacked layers ${folder} cannot be written (${why})`,
    fix: 'look at the disk (`dmesg`) and at the rights of the folder',
  },
  UNPACK_NOT_ROOT: {
    status: 501,
    what: () => 'image layers can only be unpacked by root, who gives their files to the ids of containers',
    fix: 'start the node as root',
  },
  UNPACK_NOT_BUILT: {
    status: 501,
    what: () => 'image layers cannot be unpacked: the program skerry-unpack is not built',
    fix: 'run `npm run build` (it needs Rust)',
  },
  UNPACK_FAILED: {
    status: 500,
    what: (layer: string, why: string) => `${layer} could not be unpacked: ${why}`,
    fix: 'look in the log of the node and report it',
  },
});
