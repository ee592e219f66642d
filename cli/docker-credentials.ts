/**
 * The credentials that the user has for a registry, as docker keeps them: in its config.json, or with a helper.
 * https://docs.docker.com/reference/cli/docker/login/#credential-stores
 */
import { spawn } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import type { TransferRequest } from '../gateway/admin/schemas.ts';
import { cliErrors } from './errors.ts';
import type { Terminal } from './terminal.ts';

type Credentials = TransferRequest['credentials'];

const MAX_CONFIG_BYTES = 2 ** 20;
const MAX_ANSWER_BYTES = 64 * 1024;
/** A helper may ask its user something; in milliseconds. */
const HELPER_MS = 120_000;

/** A part of a program's name: nothing that leads to another folder. */
const helperName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/);
const configSchema = z.object({
  auths: z
    .record(z.string(), z.object({ auth: z.string().nullish(), identitytoken: z.string().nullish() }).nullable())
    .nullish(),
  credHelpers: z.record(z.string(), helperName).nullish(),
  credsStore: z.union([helperName, z.literal('')]).nullish(),
});
const helperAnswer = z.object({ Username: z.string(), Secret: z.string() });

/** How docker calls its own registry. */
const DOCKER_HUB = 'https://index.docker.io/v1/';

/**
 * For the registry that the reference names; undefined when it names none, or the user has none. Throws
 * CREDENTIALS_UNREADABLE and CREDENTIAL_HELPER, which never quote what is there.
 */
export async function credentialsFor(reference: string, env: Terminal['env']): Promise<Credentials> {
  const registry = registryOf(reference);
  if (registry === null) return undefined;
  const file = join(env.DOCKER_CONFIG || join(env.HOME || homedir(), '.docker'), 'config.json');
  const config = await readConfig(file);
  if (!config) return undefined;
  const key = registry === 'docker.io' ? DOCKER_HUB : registry;
  const own = config.credHelpers ? (entry(config.credHelpers, key) ?? entry(config.credHelpers, registry)) : undefined;
  const helper = own ?? (config.credsStore || undefined);
  const found = helper === undefined ? undefined : await askHelper(helper, key, env);
  return found ?? fromFile(config.auths ?? {}, registry, file);
}

/** `HOST[:PORT]` before the first slash, as for docker; null for a name of the node's own. */
function registryOf(reference: string): string | null {
  const slash = reference.indexOf('/');
  const first = reference.slice(0, Math.max(0, slash));
  const isRegistry = /[.:[]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  return isRegistry ? first.toLowerCase() : null;
}

async function readConfig(file: string): Promise<z.infer<typeof configSchema> | null> {
  let text: string;
  try {
    const found = await stat(file);
    if (!found.isFile()) throw cliErrors.CREDENTIALS_UNREADABLE(file, 'it is no file');
    if (found.size > MAX_CONFIG_BYTES) throw cliErrors.CREDENTIALS_UNREADABLE(file, 'it is too large');
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw code === 'CREDENTIALS_UNREADABLE' ? error : cliErrors.CREDENTIALS_UNREADABLE(file, code ?? 'an error');
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // What the parser says quotes the text.
    throw cliErrors.CREDENTIALS_UNREADABLE(file, 'it is not JSON');
  }
  const parsed = configSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const where = parsed.error.issues[0]?.path.join('.') || 'it';
  throw cliErrors.CREDENTIALS_UNREADABLE(file, `${where.slice(0, 100)} is not what docker writes`);
}

function entry<T>(record: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

/** Older clients wrote the registry as a URL. */
function fromFile(
  auths: NonNullable<z.infer<typeof configSchema>['auths']>,
  registry: string,
  file: string,
): Credentials {
  const names = registry === 'docker.io' ? [DOCKER_HUB] : [registry, `https://${registry}`, `https://${registry}/v1/`];
  const found = names.map((name) => entry(auths, name)).find((each) => each?.auth || each?.identitytoken);
  if (!found) return undefined;
  if (found.identitytoken) return { identityToken: found.identitytoken };
  const [, username, password] = /^([^:]*):(.*)$/s.exec(Buffer.from(found.auth ?? '', 'base64').toString()) ?? [];
  if (username === undefined || password === undefined)
    throw cliErrors.CREDENTIALS_UNREADABLE(file, `what is there for ${registry} is not USER:PASSWORD in base64`);
  // Some clients end it with a NUL.
  return { username, password: password.replace(/\0+$/, '') };
}

/** Undefined: it has none. */
function askHelper(helper: string, key: string, env: Terminal['env']): Promise<Credentials> {
  const command = `docker-credential-${helper}`;
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(cliErrors.CREDENTIAL_HELPER(command, why));
    const child = spawn(command, ['get'], { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'ignore'] });
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      fail(`it did not answer within ${HELPER_MS / 1000} s`);
    }, HELPER_MS);
    let said = '';
    child.stdout.on('data', (piece) => {
      said += piece;
      if (said.length > MAX_ANSWER_BYTES) child.kill('SIGKILL');
    });
    child.stdin.on('error', () => {});
    child.stdin.end(key);
    child.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      fail(error.code === 'ENOENT' ? 'it is not installed' : (error.code ?? 'an error'));
    });
    child.on('close', (status) => {
      clearTimeout(timer);
      if (said.length > MAX_ANSWER_BYTES) return fail('its answer is too long');
      if (status !== 0) {
        if (/not found/i.test(said)) return resolve(undefined);
        return fail(`it ended with ${status}`);
      }
      const parsed = helperAnswer.safeParse(jsonOf(said));
      if (!parsed.success) return fail('its answer is not what helpers answer');
      const { Username: username, Secret } = parsed.data;
      resolve(username === '<token>' ? { identityToken: Secret } : { username, password: Secret });
    });
  });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
