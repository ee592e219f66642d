/** Whoever is told to come back is told when: RFC 9110, section 10.2.3, and RFC 6585, section 4. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../errors/project-root.ts';
import { SkerryError } from '../../errors/skerry-error.ts';
import { problemHeaders } from '../../gateway/problem.ts';

const test = suite('error tables: Retry-After');

/** Sources that define a table. */
function tables(): string[] {
  const folders = ['cli', 'daemon', 'gateway', 'images', 'runtime'];
  const files = folders.flatMap((folder) => {
    const names = readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' });
    return names.filter((name) => name.endsWith('.ts')).map((name) => join(folder, name));
  });
  return files.filter((file) => readFileSync(join(projectRoot, file), 'utf8').includes('= defineErrors({'));
}

test('every row with status 429 or 503 says after how many seconds to try again', async () => {
  const files = tables();
  let rows = 0;
  let waits = 0;
  for (const file of files) {
    const module = (await import(join(projectRoot, file))) as Record<string, unknown>;
    for (const table of Object.values(module)) {
      if (typeof table !== 'object' || table === null) continue;
      for (const [code, make] of Object.entries(table as Record<string, (...args: unknown[]) => unknown>)) {
        if (typeof make !== 'function') continue;
        // A list of one text is as good as a text to all of them.
        const error = make(['1'], ['2'], ['3'], ['4']);
        if (!(error instanceof SkerryError)) throw new Error(`${file}: ${code} makes no error`);
        rows++;
        if (error.status !== 429 && error.status !== 503) continue;
        waits++;
        const headers = problemHeaders(error, 'a-request');
        const at = headers.indexOf('retry-after');
        assert.ok(at !== -1 && /^[1-9]\d*$/.test(headers[at + 1]!), `${file}: ${code} has no retryAfter`);
      }
    }
  }
  // That it found them at all.
  assert.ok(files.length >= 13, `${files.length} tables`);
  assert.ok(rows > 150, `${rows} rows`);
  assert.ok(waits > 20, `${waits} rows to try again`);
});

test.run();
