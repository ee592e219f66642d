import type { Environment, RawRecords, RawWrite } from './environment.ts';
import { stateErrors } from './errors.ts';
import { decodeRecord, encodeRecord } from './record.ts';
import type { Demand } from './reserve.ts';

/** What a step may do: read what is there, and put (a document's key, generation and value) or remove. */
export interface MigrationView {
  documents(prefix: string): { key: string; generation: number; value: unknown }[];
  put(key: string, generation: number, value: unknown): void;
  remove(key: string): void;
}

/** Brings the documents from schema version `from` to `from + 1`. Reads see what the steps before it made. */
export interface Migration {
  readonly from: number;
  readonly run: (view: MigrationView) => void;
}

export interface Schema {
  /** What this Skerry writes. */
  readonly version: number;
  readonly migrations: readonly Migration[];
}

/**
 * 1 → 2: revisions say which secrets they get, where they may connect to, how much they may store, and how large the
 * bodies of requests and answers may be.
 */
function addServicesAndTransferLimits({ documents, put }: MigrationView): void {
  const services = { secrets: [], allow: [], keyvalueQuotaBytes: 16 * 1024 * 1024 };
  const transfer = { maxRequestBytes: 2 ** 30, maxResponseBytes: 2 ** 30 };
  for (const { key, generation, value } of documents('revision/')) {
    const revision = value as { limits: Record<string, number> };
    put(key, generation, { ...services, ...revision, limits: { ...transfer, ...revision.limits } });
  }
}

/** The schema of this Skerry. A change of any document's shape raises the version and adds its step. */
export const currentSchema: Schema = { version: 2, migrations: [{ from: 1, run: addServicesAndTransferLimits }] };

export const documentPrefix = 'd/';
export const schemaKey = 'm/schema';

/** Room for writing all documents anew at each step, twice as long. */
function demandOf(environment: Environment, steps: number): Demand {
  const demand = { records: 1, bytes: 100, onlyRemoves: false };
  for (const [key, record] of environment.range('')) {
    demand.records += steps;
    demand.bytes += 2 * steps * (key.length + record.length);
  }
  return demand;
}

/** Marks a new environment as one of `schema`. */
export function begin(environment: Environment, schema: Schema): void {
  environment.writeNow({ records: 1, bytes: 100, onlyRemoves: false }, (put) => put(schemaRecord(schema.version)));
}

function schemaRecord(version: number): RawWrite {
  return { key: schemaKey, value: encodeRecord(schemaKey, 1, { version }) };
}

function findVersion(records: RawRecords): number {
  const record = records.get(schemaKey);
  if (!record) throw stateErrors.STATE_CORRUPT(schemaKey, 'there is no schema version');
  return decodeRecord<{ version: number }>(schemaKey, record).value.version;
}

function viewOf(environment: Environment, put: (write: RawWrite) => void): MigrationView {
  return {
    documents: (prefix) =>
      Array.from(environment.range(documentPrefix + prefix), ([key, record]) =>
        decodeRecord(key.slice(documentPrefix.length), record),
      ),
    put: (key, generation, value) => put({ key: documentPrefix + key, value: encodeRecord(key, generation, value) }),
    remove: (key) => put({ key: documentPrefix + key, value: null }),
  };
}

/**
 * Brings an environment to `schema`, all steps in one transaction: a crash leaves the old version or the new one.
 * Throws STATE_NEWER, STATE_TOO_OLD, STATE_MIGRATION_FAILED, STATE_CORRUPT.
 */
export function migrate(environment: Environment, schema: Schema): void {
  const found = findVersion(environment);
  if (found === schema.version) return;
  if (found > schema.version) throw stateErrors.STATE_NEWER(environment.folder, found, schema.version);
  environment.writeNow(demandOf(environment, schema.version - found), (put) => {
    for (let version = found; version < schema.version; version++) {
      const step = schema.migrations.find(({ from }) => from === version);
      if (!step) throw stateErrors.STATE_TOO_OLD(environment.folder, version, schema.version);
      try {
        step.run(viewOf(environment, put));
      } catch (error) {
        throw stateErrors
          .STATE_MIGRATION_FAILED(environment.folder, version, version + 1, (error as Error).message)
          .because(error);
      }
    }
    put(schemaRecord(schema.version));
  });
}
