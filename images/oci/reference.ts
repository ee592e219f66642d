/** How users name images: https://github.com/distribution/reference, and image folders and archives. */
import { isDigest } from '../store/index.ts';
import { ociErrors } from './errors.ts';

interface Named {
  readonly repository: string;
  /** `latest` where neither a tag nor a digest is given. */
  readonly tag: string | null;
  /** Of an index or a manifest. It decides where a tag stands beside it. */
  readonly digest: string | null;
}

/** An image in a registry. */
export interface RegistryReference extends Named {
  readonly kind: 'registry';
  /** `HOST[:PORT]`, lower case. */
  readonly registry: string;
}

/** A name in the node's own store. */
export interface OwnReference extends Named {
  readonly kind: 'own';
  readonly registry: '';
}

export type NamedReference = RegistryReference | OwnReference;

/** An OCI image layout: a folder, or a tar archive of one. */
export interface LayoutReference {
  readonly kind: 'oci';
  readonly path: string;
  /** Null: the only image there. */
  readonly tag: string | null;
}

/** What `docker save` writes. */
export interface ArchiveReference {
  readonly kind: 'docker-archive';
  readonly path: string;
}

export type Reference = NamedReference | LayoutReference | ArchiveReference;

const MAX_NAME = 255;
const tagGrammar = /^\w[\w.-]{0,127}$/;
const componentGrammar = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const label = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const registryGrammar = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]{1,5})?$`);

/** A repository as registries name it: parts in lower case, with slashes between them. */
export function isRepository(name: string): boolean {
  return name.length <= MAX_NAME && name.split('/').every((component) => componentGrammar.test(component));
}

export function isTag(text: string): boolean {
  return tagGrammar.test(text);
}

/** Throws REFERENCE_INVALID. */
export function parseReference(text: string): Reference {
  if (text.startsWith('oci:')) return parseLayout(text, text.slice('oci:'.length));
  if (text.startsWith('docker-archive:')) {
    const path = parsePath(text, text.slice('docker-archive:'.length));
    return { kind: 'docker-archive', path };
  }
  return parseNamed(text);
}

/** The one way to write a named reference; two that mean the same are equal. */
export function formatReference({ registry, repository, tag, digest }: NamedReference): string {
  const name = registry === '' ? repository : `${registry}/${repository}`;
  return digest === null ? `${name}:${tag}` : `${name}@${digest}`;
}

function parsePath(text: string, path: string): string {
  if (path === '') throw ociErrors.REFERENCE_INVALID(text, 'a path is missing');
  if (path.includes('\0')) throw ociErrors.REFERENCE_INVALID(text, 'its path has a NUL in it');
  return path;
}

/** The tag is behind the last colon, unless a slash follows: then that colon belongs to the path. */
function parseLayout(text: string, rest: string): LayoutReference {
  const colon = rest.lastIndexOf(':');
  if (colon < 0 || rest.includes('/', colon)) return { kind: 'oci', path: parsePath(text, rest), tag: null };
  const tag = rest.slice(colon + 1);
  if (!tagGrammar.test(tag)) throw ociErrors.REFERENCE_INVALID(text, `"${tag}" is not a tag`);
  return { kind: 'oci', path: parsePath(text, rest.slice(0, colon)), tag };
}

function parseNamed(text: string): NamedReference {
  const invalid = (why: string) => ociErrors.REFERENCE_INVALID(text, why);
  const [beforeDigest = '', digest = null, more] = text.split('@');
  if (more !== undefined) throw invalid('it has two digests');
  if (digest !== null && !isDigest(digest))
    throw invalid('behind @ stands sha256: and 64 lower-case hex digits (or sha512: and 128)');
  const colon = beforeDigest.lastIndexOf(':');
  // A colon before a slash is that of a port.
  const tagged = colon >= 0 && !beforeDigest.includes('/', colon);
  const name = tagged ? beforeDigest.slice(0, colon) : beforeDigest;
  const tag = tagged ? beforeDigest.slice(colon + 1) : null;
  if (name === '') throw invalid('it is empty');
  if (name.length > MAX_NAME) throw invalid(`it is longer than ${MAX_NAME} characters`);
  if (tag !== null && !tagGrammar.test(tag))
    throw invalid('a tag has up to 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two');
  const { registry, repository } = splitRegistry(name);
  if (registry !== '' && !registryGrammar.test(registry)) throw invalid(`"${registry}" is not a registry (HOST:PORT)`);
  for (const component of repository.split('/')) {
    if (componentGrammar.test(component)) continue;
    const hint = component.toLowerCase() === component ? '' : ': repositories are in lower case';
    throw invalid(`"${component}" cannot be a part of a repository${hint}`);
  }
  const rest = { repository, tag: tag ?? (digest === null ? 'latest' : null), digest };
  return registry === ''
    ? { kind: 'own', registry: '', ...rest }
    : { kind: 'registry', registry: registry.toLowerCase(), ...rest };
}

/** A first part with a dot, a port or capitals, or `localhost`, is a registry, as for docker. */
function splitRegistry(name: string): { registry: string; repository: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  if (slash < 0 || (!/[.:[]/.test(first) && first !== 'localhost' && first === first.toLowerCase()))
    return { registry: '', repository: name };
  return { registry: first, repository: name.slice(slash + 1) };
}
