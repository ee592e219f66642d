/**
 * h2spec (https://github.com/summerwind/h2spec) against a real node, in the clear and over TLS: every case with its
 * result. Ends with 1 when a case fails that is not in accepted-failures.ts, or when one there has ceased to fail.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeCertificate } from '../../support/certificates.ts';
import { goTool } from '../../support/go-tool.ts';
import { discard, startProcess } from '../../support/test-node.ts';
import { ACCEPTED } from './accepted-failures.ts';

const PACKAGE = 'github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible';
/** How long h2spec waits for a frame, in seconds. */
const FRAME_TIMEOUT_S = 2;
/**
 * A function that takes its time: what h2spec sends after a request finds the stream in the state that the case means,
 * and not answered and closed already.
 */
const PATH = '/fn/sleep/50';

interface Result {
  readonly case: string;
  readonly failure: string | null;
}

/** The cases of a JUnit report in order. */
function parseReport(xml: string): Result[] {
  const cases = xml.matchAll(/<testcase package="([^"]*)" classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g);
  return Array.from(cases, ([, suite, name, inner = '']) => {
    const failed = /<(?:failure|error)[^>]*>([\s\S]*)<\/(?:failure|error)>/.exec(inner);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: h2spec writes what it received as it is
    const text = failed?.[1]?.replaceAll(/[\0-\x1f]+/g, ' ').trim();
    return { case: `${suite} ${name}`.replaceAll('&#34;', '"').replaceAll('&#39;', "'"), failure: text ?? null };
  });
}

function run(binary: string, url: URL, tls: boolean): Result[] {
  const report = join(process.env.TMPDIR ?? '/tmp', `h2spec-${process.pid}.xml`);
  const where = ['-h', url.hostname, '-p', url.port, '-P', PATH, ...(tls ? ['-t', '-k'] : [])];
  const args = [...where, '--strict', '--timeout', String(FRAME_TIMEOUT_S), '-j', report];
  const done = spawnSync(binary, args, { encoding: 'latin1' });
  if (done.error) throw done.error;
  const results = parseReport(readFileSync(report, 'latin1'));
  rmSync(report);
  if (results.length === 0) throw new Error(`h2spec reported nothing: ${done.stdout}${done.stderr}`);
  return results;
}

/** Prints every case; returns how many results were not as they should be. */
function judge(protocol: string, results: readonly Result[]): number {
  let wrong = 0;
  let passed = 0;
  for (const { case: name, failure } of results) {
    const accepted = ACCEPTED.find((each) => each.case === name && !(each.plainOnly && protocol === 'h2'));
    if (failure === null) {
      passed++;
      if (accepted) wrong++;
      console.log(`${protocol} passed   ${name}${accepted ? ' (take it off the list of accepted failures)' : ''}`);
    } else if (accepted) {
      console.log(`${protocol} accepted ${name}: ${accepted.why}`);
    } else {
      wrong++;
      console.log(`${protocol} FAILED   ${name}: ${failure}`);
    }
  }
  console.log(`${protocol}: ${passed} of ${results.length} passed, ${wrong} not as accepted`);
  return wrong;
}

async function check(binary: string, tls: boolean): Promise<number> {
  const files = tls ? writeCertificate() : null;
  const node = await startProcess({ args: files ? ['--tls-cert', files.cert, '--tls-key', files.key] : [] });
  try {
    await node.admin.deploy('fn');
    return judge(tls ? 'h2' : 'h2c', run(binary, new URL(node.url), tls));
  } finally {
    await discard(node);
    if (files) rmSync(files.folder, { recursive: true });
  }
}

try {
  const binary = goTool('h2spec', PACKAGE);
  const wrong = (await check(binary, false)) + (await check(binary, true));
  process.exit(wrong === 0 ? 0 : 1);
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
