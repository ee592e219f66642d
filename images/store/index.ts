export { BlobFile } from './blob-file.ts';
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
export { type DigestAlgorithm, digestOf, digestOfStream, isDigest, isDigestAlgorithm, splitDigest } from './digest.ts';
export { syncFolder } from './disk.ts';
export { StoreSpace } from './space.ts';
