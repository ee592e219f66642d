/** A real node that the examples are deployed to, by the commands that their READMEs document. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { projectRoot } from '../../errors/project-root.ts';
import type { WorkloadView } from '../../gateway/admin/schemas.ts';
import type { EngineName } from '../../runtime/drivers/wasm/engine.ts';
import type { Result } from './cli.ts';
import { builtExample, documented, exampleCache, typed } from './examples.ts';
import { takeBuilder } from './javascript.ts';
import { discard, type ProcessNode, startProcess, temporaryFolder } from './test-node.ts';

export class ExampleNode {
  readonly #engine: EngineName;
  #node: ProcessNode;

  private constructor(engine: EngineName, node: ProcessNode) {
    this.#engine = engine;
    this.#node = node;
  }

  /**
   * Its data folder is that of the last test, so that nothing is compiled again that did not change; without the
   * functions' logs and what they had stored.
   */
  static async start(engine: EngineName): Promise<ExampleNode> {
    const data = temporaryFolder();
    const kept = await keptFolder(engine);
    if (existsSync(kept)) copyAll(kept, data);
    else takeBuilder(data);
    return new ExampleNode(engine, await startProcess({ data, args: ['--engine', engine] }));
  }

  get url(): string {
    return this.#node.url;
  }

  /** Types the lines of the example's README that deploy it, with more flags. Its build comes first where it has one. */
  async deploy(name: string, ...flags: readonly string[]): Promise<Result> {
    const lines = (await documented(name)).deploy.filter((line) => line.includes('npx skerry'));
    assert.ok(lines.length > 0, `the README of ${name} says how to deploy it`);
    const commands = lines.map((line) => (line.includes('skerry deploy') ? [line, ...flags].join(' ') : line));
    return typed(commands.join('\n'), await builtExample(name), { SKERRY_DATA: this.#node.data });
  }

  /** The same; fails when it is refused. */
  async deployed(name: string, ...flags: readonly string[]): Promise<void> {
    const { status, stderr } = await this.deploy(name, ...flags);
    assert.is(status, 0, `${name} was not deployed: ${stderr}\n${this.#node.output}`);
  }

  /** Types the lines of its README that ask it, and gives what they print. */
  async askedAsDocumented(name: string): Promise<string> {
    const lines = (await documented(name)).deploy.filter((line) => line.startsWith('curl '));
    assert.ok(lines.length > 0, `the README of ${name} says how to ask it`);
    const commands = lines.join('\n').replaceAll('http://127.0.0.1:8080', this.#node.url);
    const { status, stdout, stderr } = await typed(commands, projectRoot, {});
    assert.is(status, 0, `${commands}: ${stderr}`);
    return stdout;
  }

  /** Waits until the function's log says it. */
  async logs(name: string, what: RegExp): Promise<void> {
    const env = { ...process.env, NODE_OPTIONS: '', SKERRY_DATA: this.#node.data };
    const stdio: ['ignore', 'pipe', 'inherit'] = ['ignore', 'pipe', 'inherit'];
    const following = spawn('node_modules/.bin/skerry', ['logs', name, '--follow'], { cwd: projectRoot, env, stdio });
    let log = '';
    for await (const piece of following.stdout.setEncoding('utf8')) {
      log += piece;
      if (what.test(log)) break;
    }
    following.kill();
    assert.match(log, what);
  }

  /** Waits until no client of a workload is being answered. */
  async idle(name: string): Promise<void> {
    const inFlight = async () => {
      const view: WorkloadView = (await this.#node.admin.call('GET', `/v1/workloads/${name}`)).json();
      return view.revisions.some(({ stats }) => stats !== null && stats.inFlight > 0);
    };
    while (await inFlight());
  }

  /** Stops and starts it again over the same data. */
  async restart(): Promise<void> {
    await this.#stop();
    this.#node = await startProcess({ data: this.#node.data, args: ['--engine', this.#engine] });
  }

  /** Stops it, and keeps what the next test need not compile again. */
  async close(): Promise<void> {
    await this.#stop();
    const { data } = this.#node;
    for (const name of ['logs', 'keyvalue']) await rm(join(data, name), { recursive: true, force: true });
    const kept = await keptFolder(this.#engine);
    const part = `${kept}.${process.pid}`;
    await mkdir(part, { recursive: true });
    copyAll(data, part);
    await rename(kept, `${part}.old`).catch(() => {});
    // Another test was quicker: what it keeps serves as well.
    await rename(part, kept).catch(() => rm(part, { recursive: true }));
    await rm(`${part}.old`, { recursive: true, force: true });
    await forgetOld(this.#engine);
    await discard(this.#node);
  }

  async #stop(): Promise<void> {
    this.#node.child.kill('SIGTERM');
    assert.is(await this.#node.ended, 0, this.#node.output);
  }
}

/** With modes, and without copying the bytes where the file system can do that. */
function copyAll(from: string, to: string): void {
  const { status, stderr } = spawnSync('cp', ['-a', '--reflink=auto', `${from}/.`, to], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${from} cannot be copied: ${stderr}`);
}

/** Each is hundreds of megabytes: those of the two newest layouts stay. */
async function forgetOld(engine: EngineName): Promise<void> {
  const names = (await readdir(exampleCache)).filter((name) => new RegExp(`^node-${engine}-[0-9a-f]+$`).test(name));
  const folders = await Promise.all(
    names.map(async (name) => {
      const path = join(exampleCache, name);
      const found = await stat(path).catch(() => null);
      return { path, made: found?.mtimeMs ?? 0 };
    }),
  );
  const old = folders.sort((a, b) => b.made - a.made).slice(2);
  for (const { path } of old) await rm(path, { recursive: true, force: true });
}

/** By what decides what a data folder looks like, so that a clone with other sources has one of its own. */
async function keptFolder(engine: EngineName): Promise<string> {
  const hash = createHash('sha256');
  for (const folder of ['images/store', 'runtime/state', 'runtime/workload']) {
    for (const name of (await readdir(join(projectRoot, folder), { recursive: true })).sort()) {
      if (name.endsWith('.ts')) hash.update(`${name}\0`).update(await readFile(join(projectRoot, folder, name)));
    }
  }
  return join(exampleCache, `node-${engine}-${hash.digest('hex').slice(0, 12)}`);
}
