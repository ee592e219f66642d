/** What the state store holds of a process: `process/NAME`. */
import type { Exit } from '../driver.ts';
import type { RevisionDocument } from '../workload/documents.ts';

export interface ProcessDocument {
  readonly name: string;
  /** What it is made of; its label is the image as the user called it. */
  readonly revision: RevisionDocument;
  /** ISO 8601. */
  readonly startedAt: string;
  /** It is forgotten when it has ended. */
  readonly removed?: true;
  /** Null: it runs. */
  readonly end: ProcessEnd | null;
}

export interface ProcessEnd {
  /** ISO 8601: when the node saw it. */
  readonly at: string;
  readonly exit: Exit;
}
