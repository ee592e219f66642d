/** Policies of the node: what images must be signed by, by repository. */
import { readFile } from 'node:fs/promises';
import type { PolicyRequest } from '../../gateway/admin/schemas.ts';
import type { Context } from '../context.ts';
import { timeText } from '../describe.ts';
import { cliErrors } from '../errors.ts';
import { type Cell, table } from '../table.ts';
import { writeJson, writeLine } from '../terminal.ts';
import { unreadable } from '../unreadable.ts';

export interface PolicyFlags {
  readonly key?: readonly string[];
  readonly identity?: string;
  readonly issuer?: string;
  readonly trustRoot?: string;
}

export async function setPolicy({ client, terminal, json }: Context, pattern: string, flags: PolicyFlags) {
  const policy = await client.setPolicy({ pattern, requires: await requirement(flags) });
  if (json) writeJson(terminal.stdout, policy);
  else writeLine(terminal.stdout, `images of ${policy.pattern} must be signed by ${policy.requires}`);
}

export async function listPolicies({ client, terminal, json }: Context): Promise<void> {
  const policies = await client.policies();
  if (json) return writeJson(terminal.stdout, { policies });
  if (policies.length === 0) {
    return writeLine(terminal.stdout, 'There are no policies; `skerry policy set PATTERN --key F` makes one.');
  }
  const rows = policies.map(({ pattern, requires, setAt }): Cell[] => [pattern, timeText(setAt), requires]);
  terminal.stdout.write(table(['PATTERN', 'SET', 'SIGNED BY'], rows));
}

export async function removePolicies({ client, terminal }: Context, patterns: readonly string[]): Promise<void> {
  for (const pattern of new Set(patterns)) {
    await client.removePolicy(pattern);
    writeLine(terminal.stdout, `${pattern} is removed: what another policy does not hold for needs no signature`);
  }
}

/** Throws USAGE, UNREADABLE. */
async function requirement({ key, identity, issuer, trustRoot }: PolicyFlags): Promise<PolicyRequest['requires']> {
  const parts = [identity, issuer, trustRoot].filter((each) => each !== undefined);
  if (key !== undefined && parts.length === 0) return { keys: await Promise.all(key.map(read)) };
  if (key === undefined && identity !== undefined && issuer !== undefined && trustRoot !== undefined)
    return { identity, issuer, trustRoot: await read(trustRoot) };
  const why = key === undefined ? 'a policy needs to know whose signature it requires' : '--key stands alone';
  throw cliErrors.USAGE(why, 'give --key F, or --identity I, --issuer U and --trust-root F');
}

function read(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: Error) => {
    throw unreadable(file, error);
  });
}
