import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { projectRoot } from '../errors/project-root.ts';

const run = promisify(execFile);
const docs = suite('documentation');

docs('the reference says what the schemas say', async () => {
  await run(process.execPath, ['--import', 'tsx', join('scripts', 'generate-reference.ts'), '--check'], {
    cwd: projectRoot,
  });
});

docs('every link to a file leads somewhere', () => {
  const pages = readdirSync(join(projectRoot, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => join('docs', file));
  for (const page of ['README.md', 'SPECIFICATION.md', ...pages]) {
    const text = readFileSync(join(projectRoot, page), 'utf8');
    for (const [, target = ''] of text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      assert.ok(existsSync(join(projectRoot, dirname(page), target)), `${page} links to ${target}`);
    }
  }
});

docs('every snippet of the page on functions is in the tested example that it names', () => {
  const page = readFileSync(join(projectRoot, 'docs', 'functions.md'), 'utf8');
  let named = '';
  let snippets = 0;
  for (const [, link, snippet] of page.matchAll(/\]\(\.\.\/(examples\/[^)]+\.\w+)\)|^```\w+\n(.*?)^```$/gms)) {
    if (link !== undefined) named = link;
    if (snippet === undefined) continue;
    assert.ok(readFileSync(join(projectRoot, named), 'utf8').includes(snippet), `${named} has no longer:\n${snippet}`);
    snippets++;
  }
  assert.ok(snippets > 10, 'snippets were found');
});

docs('every promise of the specification names a test or benchmark that exists', () => {
  const text = readFileSync(join(projectRoot, 'SPECIFICATION.md'), 'utf8');
  const named = [...text.matchAll(/`((?:test|bench)\/[^`]+)`/g)].map((match) => match[1] as string);
  assert.ok(named.length > 20, 'promises were found');
  for (const file of named) assert.ok(existsSync(join(projectRoot, file)), `${file} is named and not there`);
});

docs.run();
