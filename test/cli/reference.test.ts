import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { cliReference, cliReferenceFile } from '../../scripts/generate-cli-reference.ts';

test('docs/reference/cli.md says what the command says (else: npx tsx scripts/generate-cli-reference.ts)', async () => {
  assert.fixture(readFileSync(cliReferenceFile, 'utf8'), await cliReference());
});

test.run();
