/** What the admin API says and does about trust: policies, signatures, and one image with all that is known of it. */
import type { ImageInspection, PolicyRequest, PolicyView } from '../gateway/admin/schemas.ts';
import { type Descriptor, parseDocument } from '../images/oci/documents.ts';
import { formatReference, type ImageCatalog, type NamedReference } from '../images/oci/index.ts';
import type { Repositories } from '../images/registry/index.ts';
import { type ContentStore, digestOf, isDigest } from '../images/store/index.ts';
import {
  describeRequirement,
  judge,
  type Policy,
  policyName,
  type Signature,
  type Subject,
} from '../images/trust/index.ts';
import type { DesiredState } from '../runtime/workload/desired-state.ts';
import { attachmentsOf } from './attachments.ts';
import { daemonErrors } from './errors.ts';
import { type ImageTrust, parseReferenceOfImage } from './image-trust.ts';

export interface TrustServiceParts {
  readonly blobs: ContentStore;
  readonly desired: DesiredState;
  readonly catalog: ImageCatalog;
  readonly repositories: Repositories;
  readonly own: (named: NamedReference) => NamedReference;
}

/** An image and what its name leads to. */
interface Found {
  readonly name: string;
  /** As policies call it; null: it has no name. */
  readonly policyName: string | null;
  readonly subject: Subject;
  /** The bytes that it is described from. */
  readonly manifest: Uint8Array;
  readonly mediaType: string;
  readonly signatures: readonly Signature[];
  /** The repository of the node that has it; null: it came from elsewhere. */
  readonly repository: string | null;
}

export class TrustService {
  readonly #trust: ImageTrust;
  readonly #parts: TrustServiceParts;

  constructor(trust: ImageTrust, parts: TrustServiceParts) {
    this.#trust = trust;
    this.#parts = parts;
  }

  policies(): PolicyView[] {
    return this.#trust.policies.list().map(policyView);
  }

  async setPolicy({ pattern, requires }: PolicyRequest): Promise<PolicyView> {
    return policyView(await this.#trust.policies.set(pattern, requires));
  }

  removePolicy(pattern: string): Promise<void> {
    return this.#trust.policies.remove(pattern);
  }

  admit(digest: string, label: string): Promise<void> {
    return this.#trust.admit(digest, label);
  }

  async signingSubject(reference: string): Promise<{ repository: string; digest: string }> {
    const { repository, digest } = await this.#trust.subject(reference);
    return { repository, digest };
  }

  sign(reference: string, payload: Uint8Array, signature: string): Promise<void> {
    return this.#trust.sign(reference, payload, signature);
  }

  /** Throws REFERENCE_INVALID, IMAGE_NOT_HERE. */
  async inspect(reference: string): Promise<ImageInspection> {
    const { repositories, blobs, desired } = this.#parts;
    const found = await this.#find(reference);
    const { subject, mediaType, signatures, repository } = found;
    const { digest } = subject;
    const document = parseDocument(found.manifest, found.name, 'its manifest', mediaType);
    const layers = document.kind === 'manifest' ? document.layers : [];
    const parts = document.kind === 'index' ? document.manifests : [];
    const artifacts = new Set([
      digestOf(found.manifest),
      digest,
      ...parts.map((part) => part.digest),
      ...layers.map((layer) => layer.digest),
    ]);
    const users = desired.artifactUsers(() => {});
    const policies = found.policyName === null ? [] : this.#trust.policies.for(found.policyName);
    const judged = await Promise.all(
      policies.map(async (policy) => ({ policy, verdicts: await judge(signatures, policy, subject) })),
    );
    return {
      name: found.name,
      digest,
      mediaType,
      size: [...layers, ...parts].reduce((sum, { size }) => sum + size, 0),
      usedBy: [...new Set([...artifacts].flatMap((each) => [...(users.get(each) ?? [])]))].sort(),
      tags:
        repository === null
          ? []
          : repositories.tags(repository).flatMap((each) => (each.digest === digest ? each.tag : [])),
      platforms: parts.flatMap((part) => platformView(part) ?? []),
      layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
      policies: judged.map(({ policy, verdicts }) => ({
        pattern: policy.pattern,
        requires: describeRequirement(policy.requires),
        met: verdicts.some(({ by }) => by !== null),
      })),
      signatures: signatures.map(({ from, kind }, i) => {
        const verdicts = judged.map(({ verdicts }) => verdicts[i]!);
        const good = verdicts.find(({ by }) => by !== null);
        return { manifest: from, kind, by: good?.by ?? null, why: good ? null : (verdicts[0]?.why ?? null) };
      }),
      attachments: repository === null ? [] : await attachmentsOf({ repositories, blobs }, repository, digest, parts),
    };
  }

  async #find(reference: string): Promise<Found> {
    if (isDigest(reference)) return this.#record(reference, reference, null);
    const named = this.#parts.own(parseReferenceOfImage(reference));
    if (named.kind === 'registry') return this.#record(reference, formatReference(named), named);
    const subject = await this.#trust.subject(reference);
    const { repository, digest } = subject;
    const { mediaType } = this.#parts.repositories.manifest(repository, digest)!;
    const signatures = await this.#trust.signatures.find(repository, digest);
    const manifest = subject.bytes!;
    return {
      name: formatReference(named),
      policyName: policyName(named),
      subject,
      manifest,
      mediaType,
      signatures,
      repository,
    };
  }

  /** What came from another registry, or was sent: of this machine's platform there is one manifest. */
  async #record(reference: string, name: string, named: NamedReference | null): Promise<Found> {
    const image = this.#parts.catalog.get(name);
    if (!image) throw daemonErrors.IMAGE_NOT_HERE(reference);
    const { digest, mediaType } = image.manifest;
    const bytes = await this.#parts.repositories.read(digest);
    const signatures = this.#trust.kept.get(image.root);
    // What is signed is what the name led to: perhaps an index, whose bytes are not kept.
    const subject = {
      digest: image.root,
      bytes: image.root === digest ? bytes : null,
      repository: named?.repository ?? '',
    };
    return {
      name,
      policyName: named && policyName(named),
      subject,
      manifest: bytes,
      mediaType,
      signatures,
      repository: null,
    };
  }
}

function policyView({ pattern, requires, setAt }: Policy): PolicyView {
  return { pattern, requires: describeRequirement(requires), setAt };
}

function platformView({ digest, size, platform }: Descriptor): ImageInspection['platforms'][number] | null {
  if (!platform || platform.os === 'unknown') return null;
  const { os, architecture, variant } = platform;
  return { platform: [os, architecture, ...(variant ? [variant] : [])].join('/'), digest, size };
}
