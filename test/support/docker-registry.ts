/** Runs Debian's docker-registry on loopback, for tests. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The user `tester` with the password `secret`. */
const htpasswd = 'tester:$2b$04$WQ2NybEpu13MO09xLUxcfu7.QJQQm1SSkkILaIOwkRnNnqQP8SEX2\n';

export function hasDockerRegistry(): boolean {
  return spawnSync('docker-registry', ['--version']).status === 0;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

export class DockerRegistry {
  /** `HOST:PORT`. */
  readonly address: string;
  readonly folder: string;
  readonly #process: ChildProcess;

  private constructor(address: string, folder: string, process: ChildProcess) {
    this.address = address;
    this.folder = folder;
    this.#process = process;
  }

  /** `login`: who asks must be `tester`. */
  static async start({ login = false } = {}): Promise<DockerRegistry> {
    const folder = mkdtempSync(join(tmpdir(), 'skerry-registry-'));
    const address = `127.0.0.1:${await freePort()}`;
    writeFileSync(join(folder, 'htpasswd'), htpasswd);
    const config = {
      version: 0.1,
      log: { level: 'info', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(folder, 'data') }, delete: { enabled: true } },
      http: { addr: address },
      ...(login ? { auth: { htpasswd: { realm: 'tests', path: join(folder, 'htpasswd') } } } : {}),
    };
    // YAML takes JSON.
    writeFileSync(join(folder, 'config.yml'), JSON.stringify(config));
    const process = spawn('docker-registry', ['serve', join(folder, 'config.yml')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const registry = new DockerRegistry(address, folder, process);
    await registry.#ready();
    return registry;
  }

  /** It says so on stderr, which is read to its end: it would die of a closed one. */
  #ready(): Promise<void> {
    let said = '';
    return new Promise((resolve, reject) => {
      this.#process.stderr!.on('data', (data) => {
        if (said.length < 10_000) said += data;
        if (said.includes('listening on')) resolve();
      });
      this.#process.on('exit', () => reject(new Error(`docker-registry does not start: ${said}`)));
    });
  }

  async end(): Promise<void> {
    this.#process.kill('SIGKILL');
    if (this.#process.exitCode === null && this.#process.signalCode === null) await once(this.#process, 'exit');
    rmSync(this.folder, { recursive: true, force: true });
  }
}
