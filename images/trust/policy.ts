/** What the images of some repositories must be signed by. */
import type { KeyObject } from 'node:crypto';
import type { NamedReference } from '../oci/index.ts';
import { matches } from '../registry/auth/scope.ts';
import { type Identity, verifyBundleByIdentity, verifyBundleByKey } from './bundle.ts';
import { trustErrors } from './errors.ts';
import { formatPublicKey, keyFingerprint, parsePublicKey } from './public-key.ts';
import { Refusal, type Signature, type Subject } from './signature.ts';
import { verifySimple } from './simple-signing.ts';
import { parseTrustRoot } from './trust-root.ts';

/** As it is kept, and as a client sets it. */
export type Requirement =
  /** PEM; a signature by one of them is enough, so that keys can be exchanged. */
  | { readonly keys: readonly string[] }
  /** `trustRoot`: the text of a trusted_root.json. */
  | (Identity & { readonly trustRoot: string });

export interface Policy {
  /** Of repositories, with their registry where that is not this node; `*` stands for any characters, slashes too. */
  readonly pattern: string;
  readonly requires: Requirement;
  /** ISO 8601. */
  readonly setAt: string;
}

const MAX_KEYS = 16;
const MAX_IDENTITY = 1024;
const patternGrammar = /^[a-z0-9._/*:[\]-]{1,300}$/;

/** One way to write it. Throws POLICY_INVALID. */
export function parsePattern(text: string): string {
  if (!patternGrammar.test(text))
    throw trustErrors.POLICY_INVALID(
      `"${text.slice(0, 300)}" is not a pattern: lower-case letters and digits, . _ - / : and *`,
    );
  return text.replace(/\*+/g, '*');
}

/** Checks it, and writes keys in the one way. Throws POLICY_INVALID. */
export async function parseRequirement(requires: Requirement): Promise<Requirement> {
  if ('trustRoot' in requires) await parseTrustRoot(requires.trustRoot);
  return checkRequirement(requires);
}

/** All but the trust root, which takes long to read, and is read again when it is needed. Throws POLICY_INVALID. */
export function checkRequirement(requires: Requirement): Requirement {
  if ('keys' in requires) {
    const keys = [...new Set(requires.keys.map((pem) => formatPublicKey(parsePublicKey(pem))))];
    if (keys.length === 0 || keys.length > MAX_KEYS) throw trustErrors.POLICY_INVALID(`it needs 1 to ${MAX_KEYS} keys`);
    return { keys };
  }
  const { identity, issuer, trustRoot } = requires;
  for (const [what, text] of Object.entries({ identity, issuer }))
    if (text === '' || text.length > MAX_IDENTITY) throw trustErrors.POLICY_INVALID(`it needs an ${what}`);
  return { identity, issuer, trustRoot };
}

/** For people: `key 3f2a…` or `ci@example.com of https://…`. */
export function describeRequirement(requires: Requirement): string {
  if ('keys' in requires)
    return requires.keys.map((pem) => `key ${keyFingerprint(parsePublicKey(pem)).slice(0, 12)}`).join(' or ');
  return `${requires.identity} of ${requires.issuer}`;
}

/** What policies call the repository of a reference. Names that lead to the same place are one. */
export function policyName({ registry, repository }: NamedReference): string {
  if (registry === '') return repository;
  const [, host = registry, port] = /^(.+):([0-9]+)$/.exec(registry) ?? [];
  const where = port === undefined || Number(port) === 443 ? host : `${host}:${Number(port)}`;
  if (!/^(?:index\.|registry-1\.)?docker\.io$/.test(where)) return `${where}/${repository}`;
  return `docker.io/${repository.includes('/') ? repository : `library/${repository}`}`;
}

/**
 * The policies that hold for a repository: of those that fit, the one with no star, then the one with most other
 * characters. Where two are equally specific both hold.
 */
export function policiesFor(policies: readonly Policy[], name: string): Policy[] {
  const fitting = policies.filter(({ pattern }) => matches(pattern, name));
  const most = Math.max(...fitting.map(specificity));
  return fitting.filter((policy) => specificity(policy) === most);
}

function specificity({ pattern }: Policy): number {
  return pattern.includes('*') ? pattern.replaceAll('*', '').length : Number.POSITIVE_INFINITY;
}

/** Returns who made it, as `describeRequirement` says it. Throws Refusal. */
export async function verifySignature(signature: Signature, requires: Requirement, subject: Subject): Promise<string> {
  if (!/^sha256:[0-9a-f]{64}$/.test(subject.digest)) throw new Refusal('the image is not named by sha256');
  if ('keys' in requires) {
    const refusals: string[] = [];
    for (const pem of requires.keys) {
      try {
        await verifyByKey(signature, parsePublicKey(pem), subject);
        return describeRequirement({ keys: [pem] });
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        refusals.push(error.message);
      }
    }
    throw new Refusal([...new Set(refusals)].join('; '));
  }
  if (signature.kind !== 'bundle') throw new Refusal('it was made with a key, and not with a certificate');
  const root = await parseTrustRoot(requires.trustRoot);
  await verifyBundleByIdentity(signature.json, root, requires, subject);
  return describeRequirement(requires);
}

async function verifyByKey(signature: Signature, key: KeyObject, subject: Subject): Promise<void> {
  if (signature.kind === 'simple') verifySimple(signature, key, subject);
  else await verifyBundleByKey(signature.json, key, subject);
}
