/**
 * The conformance suite of the OCI distribution specification (https://github.com/opencontainers/distribution-spec)
 * against a real node, in the clear and over TLS, with a token. Ends with 1 when any test of it does not pass.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeCertificate } from '../../support/certificates.ts';
import { goTool } from '../../support/go-tool.ts';
import { discard, startProcess } from '../../support/test-node.ts';

const PACKAGE = 'github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111';

/** What version 1.1 leaves open and the suite does not ask for by itself: it is all there. */
const MORE = {
  OCI_VERSION: '1.1',
  OCI_API_BLOBS_DIGEST_HEADER: 'true',
  OCI_API_BLOBS_UPLOAD_CANCEL: 'true',
  OCI_API_MANIFESTS_DIGEST_HEADER: 'true',
  OCI_API_MANIFESTS_TAG_PARAM: 'true',
};
/** Left out, each with its reason in docs/registry.md. */
const LEFT_OUT = {
  // A manifest whose parts are not there could not be run, and nobody would notice until it must be.
  OCI_DATA_SPARSE: 'false',
};

async function check(binary: string, tls: boolean): Promise<boolean> {
  const files = tls ? writeCertificate() : null;
  const results = mkdtempSync(join(tmpdir(), 'skerry-conformance-'));
  const args = files ? ['--registry-tls-cert', files.cert, '--registry-tls-key', files.key] : [];
  const node = await startProcess({ args });
  try {
    const env = {
      ...process.env,
      ...MORE,
      ...LEFT_OUT,
      OCI_REGISTRY: new URL(node.registry as string).host,
      OCI_TLS: files ? 'enabled' : 'disabled',
      OCI_USERNAME: 'conformance',
      OCI_PASSWORD: await node.admin.token('conformance', 'repository:conformance/*:*'),
      OCI_RESULTS_DIR: results,
      ...(files ? { SSL_CERT_FILE: files.cert } : {}),
    };
    const done = spawnSync(binary, [], { env, encoding: 'utf8', maxBuffer: 64 * 2 ** 20 });
    if (done.error) throw done.error;
    process.stdout.write(`${done.stdout}${done.stderr}`);
    // A suite that tested nothing would end with 0 as well.
    const passed = readFileSync(join(results, 'results.yaml'), 'utf8').match(/: Pass$/gm)?.length ?? 0;
    return done.status === 0 && passed > 0;
  } finally {
    await discard(node);
    rmSync(results, { recursive: true });
    if (files) rmSync(files.folder, { recursive: true });
  }
}

try {
  const binary = goTool('conformance', PACKAGE);
  const plain = await check(binary, false);
  process.exit((await check(binary, true)) && plain ? 0 : 1);
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
