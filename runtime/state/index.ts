export { openStateStore, type StateStep, type StateStoreOptions } from './lmdb-store.ts';
export type { Document, StateStore, Write } from './store.ts';
