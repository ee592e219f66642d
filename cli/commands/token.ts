/** Tokens of the node's registry: made, listed, removed. */
import type { Context } from '../context.ts';
import { timeText } from '../describe.ts';
import { type Cell, table } from '../table.ts';
import { writeJson, writeLine } from '../terminal.ts';

/** Prints the token and nothing else: it is meant for a variable or a file. */
export async function createToken(
  { client, terminal, json }: Context,
  { name, scope }: { name: string; scope: readonly string[] },
): Promise<void> {
  const token = await client.createToken(name, scope);
  if (json) writeJson(terminal.stdout, { name, token });
  else writeLine(terminal.stdout, token);
}

export async function listTokens({ client, terminal, json }: Context): Promise<void> {
  const tokens = await client.tokens();
  if (json) return writeJson(terminal.stdout, { tokens });
  if (tokens.length === 0) {
    return writeLine(
      terminal.stdout,
      'There are no tokens; `skerry token create --name N --scope repository:PATTERN:ACTIONS` makes one.',
    );
  }
  const rows = tokens.flatMap(({ name, createdAt, scopes }) =>
    scopes.map((scope, i): Cell[] => (i === 0 ? [name, timeText(createdAt), scope] : ['', '', scope])),
  );
  terminal.stdout.write(table(['NAME', 'CREATED', 'SCOPE'], rows));
}

export async function removeTokens({ client, terminal }: Context, names: readonly string[]): Promise<void> {
  for (const name of new Set(names)) {
    await client.removeToken(name);
    writeLine(terminal.stdout, `${name} is removed, and all that was issued for it is void`);
  }
}
