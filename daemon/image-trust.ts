/**
 * The policies of a node at work: what comes under a name, what is deployed, and what gets a tag in the registry is
 * refused when it has no signature that the name requires.
 */
import { asSkerryError, SkerryError } from '../errors/skerry-error.ts';
import {
  attachedTo,
  type ImageCatalog,
  type ImageSource,
  type NamedReference,
  type OwnReference,
  parseReference,
} from '../images/oci/index.ts';
import { type Repositories, registryErrors } from '../images/registry/index.ts';
import { type ContentStore, digestOf, isDigest } from '../images/store/index.ts';
import {
  GuardedSource,
  KeptSignatures,
  Policies,
  policyName,
  RepositorySignatures,
  remoteSignatures,
  requireSignatures,
  type Signature,
  type SignedRepository,
  type Subject,
  trustErrors,
} from '../images/trust/index.ts';
import type { StateStore } from '../runtime/state/index.ts';
import { daemonErrors } from './errors.ts';

export interface ImageTrustParts {
  readonly state: StateStore;
  readonly blobs: ContentStore;
  readonly catalog: ImageCatalog;
  readonly repositories: Repositories;
  /** What is named at this node's own registry, by its name here. */
  readonly own: (named: NamedReference) => NamedReference;
}

/** A repository of another registry, for as long as it is asked. */
export interface OpenRepository {
  readonly repository: SignedRepository;
  close(): Promise<void>;
}

/** An image by a name that it has here. */
interface KnownImage {
  readonly name: string;
  readonly repository: string;
  /** Digests of what the name may lead to: the artifact itself, or indexes with it. */
  readonly roots: readonly string[];
  readonly pushed: boolean;
}

export class ImageTrust {
  readonly policies: Policies;
  readonly signatures: RepositorySignatures;
  readonly kept: KeptSignatures;
  readonly #parts: ImageTrustParts;

  constructor(parts: ImageTrustParts) {
    this.#parts = parts;
    this.policies = new Policies(parts.state);
    this.signatures = new RepositorySignatures(parts.repositories, parts.blobs);
    this.kept = new KeptSignatures(parts.state);
  }

  /** @param open the repository of an image that is in another registry */
  guard(named: NamedReference, source: ImageSource, open: () => OpenRepository): ImageSource {
    return new GuardedSource(source, async ({ bytes }, signal) => {
      const policies = this.policies.for(policyName(named));
      const digest = digestOf(bytes);
      const { repository } = named;
      if (policies.length === 0) return;
      const subject = { digest, bytes, repository };
      if (named.kind === 'own') {
        await requireSignatures(source.label, policies, await this.signatures.find(repository, digest), subject);
        return;
      }
      const elsewhere = open();
      const found = await remoteSignatures(elsewhere.repository, digest, signal).finally(() => elsewhere.close());
      const counting = await requireSignatures(source.label, policies, found, subject);
      await this.#forgetOthers();
      await this.kept.put(digest, counting);
    });
  }

  /**
   * What is about to run, or to be built upon, by the digest that it was stored under. A file of the client's has no name, and no
   * policy; a digest alone must be allowed under one of the names that the node knows it by. Throws NOT_SIGNED, SIGNATURE_REFUSED,
   * POLICY_UNREADABLE. @param label what the user calls it
   */
  async admit(digest: string, label: string): Promise<void> {
    if (this.policies.list().length === 0 || /^(?:oci|docker-archive):/.test(label)) return;
    const known = this.#known(digest);
    const named = this.#named(label);
    const asNamed = known.filter(({ name }) => named !== null && name === policyName(named));
    if (asNamed.length > 0) return this.#admitUnderOne(label, asNamed);
    // A component may be the user's own build, of which somebody pushed a copy.
    const images = known.filter(({ roots }) => roots.includes(digest));
    if (images.length > 0) return this.#admitUnderOne(label, images);
    // Its name may lead to another image by now, and nothing to this one: it is still that name's policy that holds.
    const record = this.#parts.catalog.get(digest);
    if (!record || !named) return;
    const { repository } = named;
    const roots = [...new Set([record.root, digest])];
    await this.#admitUnderOne(label, [{ name: policyName(named), repository, roots, pushed: named.kind === 'own' }]);
  }

  /** Before a tag of a repository is given to a manifest. Tags of signatures are free: they come behind the image. */
  async admitTags(repository: string, digest: string, bytes: Uint8Array, tags: readonly string[]): Promise<void> {
    if (tags.every((tag) => attachedTo(tag) !== null)) return;
    const policies = this.policies.for(repository);
    if (policies.length === 0) return;
    const subject = { digest, bytes, repository };
    try {
      await requireSignatures(
        `${repository}@${digest}`,
        policies,
        await this.signatures.find(repository, digest),
        subject,
      );
    } catch (error) {
      const { code, what } = asSkerryError(error);
      if (code === 'NOT_SIGNED' || code === 'SIGNATURE_REFUSED') throw registryErrors.UNSIGNED(what).because(error);
      throw error;
    }
  }

  /** What a signature of this must be about. Throws REFERENCE_INVALID, IMAGE_NOT_HERE, NOT_OF_THIS_REGISTRY. */
  async subject(reference: string): Promise<Subject> {
    const named = this.#parts.own(parseReferenceOfImage(reference));
    if (named.kind !== 'own') throw trustErrors.NOT_OF_THIS_REGISTRY(reference);
    return this.#subjectOf(named, reference);
  }

  /** Attaches a signature that somebody made. Throws as `subject`, and SIGNATURE_INVALID. */
  async sign(reference: string, payload: Uint8Array, signature: string): Promise<void> {
    await this.signatures.add(payload, signature, await this.subject(reference));
  }

  async #subjectOf({ repository, tag, digest }: OwnReference, reference: string): Promise<Subject> {
    const found = this.#parts.repositories.manifest(repository, digest ?? (tag as string));
    if (!found) throw daemonErrors.IMAGE_NOT_HERE(reference);
    return { repository, digest: found.digest, bytes: await this.#parts.repositories.read(found.digest) };
  }

  async #admitUnderOne(label: string, images: readonly KnownImage[]): Promise<void> {
    let refused: SkerryError | null = null;
    for (const image of images) {
      for (const root of image.roots) {
        try {
          await this.#require(label, image, root);
          return;
        } catch (error) {
          if (!(error instanceof SkerryError)) throw error;
          refused ??= error;
        }
      }
    }
    if (refused) throw refused;
  }

  async #require(label: string, { name, repository, pushed }: KnownImage, digest: string): Promise<void> {
    const policies = this.policies.for(name);
    if (policies.length === 0) return;
    const signatures: Signature[] = pushed ? await this.signatures.find(repository, digest) : this.kept.get(digest);
    const bytes = await this.#parts.repositories.read(digest).catch(() => null);
    await requireSignatures(label, policies, signatures, { digest, repository, bytes });
  }

  /** Each name by which the node knows an artifact: a manifest, or a layer that is a component. */
  #known(digest: string): KnownImage[] {
    const { repositories, catalog } = this.#parts;
    const known: KnownImage[] = [];
    for (const repository of repositories.names()) {
      const manifests = repositories.manifests(repository);
      const roots = new Set<string>(manifests.some((each) => each.digest === digest) ? [digest] : []);
      for (const each of manifests) if (each.blobs.includes(digest)) roots.add(each.digest);
      // Indexes, and indexes of indexes: each round goes one level up.
      for (let before = -1; before < roots.size; ) {
        before = roots.size;
        for (const each of manifests) if (each.manifests.some((part) => roots.has(part))) roots.add(each.digest);
      }
      if (roots.size > 0) known.push({ name: repository, repository, roots: [...roots], pushed: true });
    }
    for (const { name, image } of catalog.list()) {
      const named = image.manifest.digest === digest && name !== digest ? this.#named(name) : null;
      if (named === null) continue;
      const roots = [...new Set([digest, image.root])];
      known.push({ name: policyName(named), repository: named.repository, roots, pushed: false });
    }
    return known;
  }

  #named(text: string): NamedReference | null {
    if (isDigest(text)) return null;
    try {
      const reference = parseReference(text);
      return 'repository' in reference ? this.#parts.own(reference) : null;
    } catch (error) {
      if (error instanceof SkerryError) return null;
      throw error;
    }
  }

  /** Signatures of images that are gone. */
  async #forgetOthers(): Promise<void> {
    await this.kept.keepOnly(new Set(this.#parts.catalog.list(() => {}).map(({ image }) => image.root)));
  }
}

/** Throws REFERENCE_INVALID, IMAGE_NOT_HERE. */
export function parseReferenceOfImage(text: string): NamedReference {
  const reference = parseReference(text);
  if (!('repository' in reference)) throw daemonErrors.IMAGE_NOT_HERE(text);
  return reference;
}
