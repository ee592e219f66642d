export { applyDelta, baseOf, MAX_BLOB_BYTES, MAX_DELTA_BYTES, makeDelta, mayDiffer } from './delta.ts';
export {
  acceptsDelta,
  BASE_HEADER,
  BASES_HEADER,
  DELTA_CODING,
  isDelta,
  listBases,
  MAX_BASES,
  parseBases,
  SIZE_HEADER,
} from './negotiation.ts';
export { canUseDeltas } from './program.ts';
