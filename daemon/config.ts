/** Reads the node's configuration: a flag wins over the environment, that over the file, that over the default. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { Command, CommanderError } from 'commander';
import { parse as parseToml, TomlError } from 'smol-toml';
import { CONFIG_FLAGS, type ConfigKey, FILE_SETTINGS, NodeConfig } from './config-schema.ts';
import { daemonErrors } from './errors.ts';

export interface Settings extends NodeConfig {
  /** Of the admin API over TCP; from SKERRY_ADMIN_TOKEN only, since flags and files are seen by others. */
  readonly adminToken: string | undefined;
}

const TLS_PAIRS = [
  ['tls-cert', 'tls-key'],
  ['registry-tls-cert', 'registry-tls-key'],
] as const;

type Raw = Partial<Record<ConfigKey, unknown>>;

function defaultDataFolder(): string {
  if (process.getuid?.() === 0) return '/var/lib/skerry';
  return join(homedir(), '.local', 'share', 'skerry');
}

function optionName(key: ConfigKey): string {
  return key.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

export function upCommand(): Command {
  const command = new Command('skerry up')
    .description('Start a node on this machine, in the foreground.')
    .option('--config <file>', 'a TOML file with the same settings')
    .addHelpText('after', '\nExample:\n  skerry up --data ./node --listen 127.0.0.1:8080');
  for (const { key, argument, env, fallback } of CONFIG_FLAGS) {
    const text = NodeConfig.shape[key].description ?? '';
    const more = fallback === undefined ? `(env ${env})` : `(default ${fallback}, env ${env})`;
    command.option(`--${key} <${argument}>`, `${text} ${more}`);
  }
  return command;
}

/** Line of `key` in the file, or null. */
function lineOf(text: string, key: string): number | null {
  const at = text.split('\n').findIndex((line) => line.trimStart().startsWith(key));
  return at < 0 ? null : at + 1;
}

async function readConfigFile(file: string): Promise<{ values: Raw; text: string }> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw daemonErrors.CONFIG_UNREADABLE(file, (error as NodeJS.ErrnoException).code ?? String(error));
  }
  try {
    return { values: parseToml(text) as Raw, text };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const why = error.message.split('\n')[0] as string;
    throw daemonErrors.CONFIG_INVALID(`${file}:${error.line}:${error.column}`, why);
  }
}

/** Throws UP_USAGE, CONFIG_UNREADABLE, CONFIG_INVALID, TLS_INCOMPLETE; prints the help and returns null when that was asked for. */
export async function readSettings(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<Settings | null> {
  const command = upCommand()
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  try {
    command.parse([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === 'commander.helpDisplayed') return null;
    throw daemonErrors.UP_USAGE(
      error.message
        .replace(/^error: /, '')
        .split('\n')
        .join(' '),
    );
  }
  if (command.args.length > 0) throw daemonErrors.UP_USAGE(`unexpected argument '${command.args[0]}'`);
  const options = command.opts<Record<string, string | undefined>>();
  const file = options.config === undefined ? null : await readConfigFile(options.config);
  const values: Record<string, unknown> = { ...file?.values };
  const source = new Map<string, string>();
  for (const { key, env: variable, fallback } of CONFIG_FLAGS) {
    const flag = options[optionName(key)];
    if (flag !== undefined) {
      values[key] = flag;
      source.set(key, `--${key}`);
    } else if (env[variable]) {
      values[key] = env[variable];
      source.set(key, variable);
    } else if (values[key] === undefined && fallback !== undefined) {
      values[key] = fallback;
    }
  }
  values.data ??= defaultDataFolder();
  const checked = NodeConfig.safeParse(values);
  if (!checked.success) {
    const issue = checked.error.issues[0];
    const key = String(issue?.path[0] ?? (issue as { keys?: string[] } | undefined)?.keys?.[0] ?? '');
    const line = file === null ? null : lineOf(file.text, key);
    const inFile = `${options.config}${line === null ? '' : `:${line}:1`}: ${key}`;
    throw daemonErrors.CONFIG_INVALID(source.get(key) ?? inFile, issue?.message ?? 'not valid');
  }
  for (const [cert, key] of TLS_PAIRS) {
    const given = [cert, key].filter((name) => checked.data[name] !== undefined);
    if (given.length === 1) throw daemonErrors.TLS_INCOMPLETE(given[0] as string, given[0] === cert ? key : cert);
  }
  // The node may stand in another folder.
  const paths: Partial<Record<(typeof FILE_SETTINGS)[number], string>> = {};
  for (const name of FILE_SETTINGS) {
    const path = checked.data[name];
    if (path !== undefined) paths[name] = resolve(path);
  }
  return {
    ...checked.data,
    ...paths,
    data: resolve(checked.data.data),
    adminToken: env.SKERRY_ADMIN_TOKEN || undefined,
  };
}
