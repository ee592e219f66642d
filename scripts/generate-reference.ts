/**
 * Writes docs/reference/: the configuration, skerry.toml and its JSON schema, and the admin API, all from the schemas
 * that the code itself uses. With `--check` it writes nothing and fails when a file is not what it would write.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { CONFIG_FLAGS, NodeConfig } from '../daemon/config-schema.ts';
import { projectRoot } from '../errors/project-root.ts';
import { makeAdminApp } from '../gateway/admin/app.ts';
import type { AdminServices } from '../gateway/admin/services.ts';
import { ApplyFile, ApplyRevision, ApplyWorkload } from '../runtime/workload/apply-file.ts';
import { ProjectFile, RevisionSettings } from '../runtime/workload/settings.ts';

const folder = join(projectRoot, 'docs', 'reference');

function configuration(): string {
  const rows = CONFIG_FLAGS.map(({ key, env, fallback }) => {
    const text = NodeConfig.shape[key].description ?? '';
    return `| \`${key}\` | \`--${key}\` | \`${env}\` | ${fallback === undefined ? '' : `\`${fallback}\``} | ${text} |`;
  });
  return `# Configuration of a node

A flag of \`skerry up\` wins over the environment, that over the TOML file given with \`--config\`, that over the default.
An unknown key in the file is an error.

| key in the file | flag | environment | default | what |
|---|---|---|---|---|
${rows.join('\n')}

The token of the admin API over TCP is read from \`SKERRY_ADMIN_TOKEN\` only: flags and files are seen by others.
`;
}

function settingsTable(shape: Record<string, z.ZodType>): string {
  const rows = Object.entries(shape).map(([key, schema]) => {
    const { type = 'string', items } = z.toJSONSchema(schema, { unrepresentable: 'any' }) as {
      type?: string;
      items?: { type?: string };
    };
    return `| \`${key}\` | ${items ? `list of ${items.type}` : type} | ${schema.description ?? ''} |`;
  });
  return `| key | type | what |\n|---|---|---|\n${rows.join('\n')}`;
}

function projectFile(): string {
  return `# skerry.toml

Settings of a workload, in the folder that \`skerry deploy FOLDER\` is given. Flags win over the file. An unknown key is an
error that names the file, the line and the key. Editors can check it with [skerry-toml.schema.json](skerry-toml.schema.json).

${settingsTable(ProjectFile.shape)}
`;
}

function applyFile(): string {
  const { name, source, image, build, revisions } = ApplyWorkload.shape;
  const { image: component, traffic } = ApplyRevision.shape;
  return `# The file of skerry apply

YAML, TOML or JSON with a list \`workloads\`, as \`skerry export\` writes it. \`skerry apply -f FILE\` brings the node to it,
all of it or nothing; workloads that the file does not name stay as they are. An unknown key is an error that names the
file, the line and the key. Editors can check it with [apply-file.schema.json](apply-file.schema.json).

\`\`\`yaml
workloads:
  - name: hello
    source: ./hello.ts
    memory: 64MiB
\`\`\`

Each workload has a name, one of \`source\`, \`image\` and \`revisions\`, and the settings of
[skerry.toml](skerry-toml.md).

${settingsTable({ name, source, image, build, revisions })}

A workload that splits its traffic has \`revisions\`, each with a share. What the workload says goes for all of them;
\`env\` is put together name by name.

\`\`\`yaml
workloads:
  - name: hello
    memory: 64MiB
    revisions:
      - traffic: 90
        image: sha256:0f3a...
      - traffic: 10
        image: sha256:94c1...
        memory: 128MiB
\`\`\`

${settingsTable({ traffic, image: component })}

Beside these a revision may have ${Object.keys(RevisionSettings.shape)
    .map((key) => `\`${key}\``)
    .join(', ')}.
Routes, \`queue\`, \`min\`, \`max\` and \`idle\` are the workload's own.
`;
}

function openApi(): string {
  const app = makeAdminApp({} as AdminServices, () => {});
  const document = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: { title: 'Skerry admin API', version: '1' },
  });
  return `${JSON.stringify(document, null, 2)}\n`;
}

const files: Record<string, string> = {
  'configuration.md': configuration(),
  'skerry-toml.md': projectFile(),
  'skerry-toml.schema.json': `${JSON.stringify(z.toJSONSchema(ProjectFile, { unrepresentable: 'any' }), null, 2)}\n`,
  'apply-file.md': applyFile(),
  'apply-file.schema.json': `${JSON.stringify(z.toJSONSchema(ApplyFile, { unrepresentable: 'any' }), null, 2)}\n`,
  'admin-api.openapi.json': openApi(),
};

const check = process.argv.includes('--check');
const stale: string[] = [];
mkdirSync(folder, { recursive: true });
for (const [name, text] of Object.entries(files)) {
  const path = join(folder, name);
  if (!check) {
    writeFileSync(path, text);
    continue;
  }
  let found = '';
  try {
    found = readFileSync(path, 'utf8');
  } catch {
    // Missing is stale.
  }
  if (found !== text) stale.push(name);
}
if (stale.length > 0) {
  console.error(`docs/reference is not up to date (${stale.join(', ')}): run \`npm run docs\``);
  process.exit(1);
}
