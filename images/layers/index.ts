export {
  type LayerStep,
  type LayerStore,
  type LayerStoreOptions,
  openLayerStore,
  type UnpackedLayer,
} from './layer-store.ts';
export { type UnpackLimits, unpackProblem } from './unpack.ts';
export { type IdRange, type StartAsNamespaceRoot, startByUtilLinux } from './user-namespace.ts';
