export {
  type BlobStep,
  type ContentStore,
  type ContentStoreOptions,
  type DeleteOptions,
  type ListedBlob,
  openContentStore,
  type PutOptions,
  type StoredBlob,
  type VerifiedBlob,
} from './content-store.ts';
export { digestOf, digestOfStream, isDigest } from './digest.ts';
export { syncFolder } from './disk.ts';
