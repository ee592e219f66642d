/** Secrets of the node: set with the value on stdin, listed by name, removed. No command prints a value. */
import { SecretName } from '../../runtime/workload/settings.ts';
import type { Context } from '../context.ts';
import { timeText } from '../describe.ts';
import { cliErrors } from '../errors.ts';
import { type Cell, table } from '../table.ts';
import { writeJson, writeLine } from '../terminal.ts';

export async function setSecret({ client, terminal }: Context, given: string): Promise<void> {
  const name = checkSecretName(given);
  const { usedBy } = await client.setSecret(name, await readValue(terminal.stdin));
  const users = usedBy.length > 0 ? `; ${usedBy.join(', ')} got the new value` : '';
  writeLine(terminal.stdout, `${name} is set${users}`);
}

export async function listSecrets({ client, terminal, json }: Context): Promise<void> {
  const secrets = await client.secrets();
  if (json) return writeJson(terminal.stdout, { secrets });
  if (secrets.length === 0) {
    return writeLine(terminal.stdout, 'There are no secrets; `skerry secret set NAME` takes one from stdin.');
  }
  const rows = secrets.map(({ name, updatedAt, usedBy }): Cell[] => {
    return [name, timeText(updatedAt), usedBy.join(', ') || '-'];
  });
  terminal.stdout.write(table(['NAME', 'SET', 'USED BY'], rows));
}

export async function removeSecrets(
  { client, terminal }: Context,
  given: readonly string[],
  flags: { force?: boolean },
): Promise<void> {
  for (const name of new Set(given.map(checkSecretName))) {
    await client.removeSecret(name, flags.force === true);
    writeLine(terminal.stdout, `${name} is removed`);
  }
}

/** Throws USAGE. */
function checkSecretName(name: string): string {
  const result = SecretName.safeParse(name);
  if (result.success) return result.data;
  throw cliErrors.USAGE(`${name}: a secret's name ${result.error.issues[0]?.message}`, 'name it as API_KEY');
}

/** All of stdin, without the one line end that `echo` and editors put behind it. Throws USAGE when it is not UTF-8. */
async function readValue(stdin: NodeJS.ReadableStream): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of stdin) pieces.push(Buffer.from(piece));
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(pieces));
    return text.replace(/\r?\n$/, '');
  } catch {
    throw cliErrors.USAGE('the value on stdin is not UTF-8 text', 'encode it, for example with `base64`');
  }
}
