import type { AdminClient } from '../gateway/admin/client.ts';
import type { ConnectionFlags } from './connection.ts';
import type { Terminal } from './terminal.ts';

/** What every command is given. */
export interface Context {
  readonly terminal: Terminal;
  /** `--json`: one document on stdout in place of what is for people. */
  readonly json: boolean;
  readonly connection: ConnectionFlags;
  /** Opens nothing until it is asked for something. */
  readonly client: AdminClient;
}
